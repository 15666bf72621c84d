"""The service's OpenAPI, with what several routes share said once."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

#: Parameters of paths by name: description, example.
_SHARED = {
    "endpoint": ("Name of an endpoint: `endpoints` of the service's settings.", "fold"),
    "job": ("Id of a job, as its submission answered.", "7c6f0b53-0d3a-4f0e-9c4e-1a5cf1b0a2f4-e1"),
    "name": ("Name of a record, as its submission answered.", "b5c1d7f0a93e4c6f8d2b7a1e5f3c9d04"),
    "x-forwarded-proto": ("How a proxy before the service was called.", "https"),
    "snakefold_token": ("A token, as the page keeps it; programs give `Authorization: Bearer TOKEN`.", ""),
}


def documented(app: FastAPI) -> None:
    """Let the application's OpenAPI say what parameters are that its routes only name."""
    made = app.openapi

    def openapi() -> dict[str, Any]:
        schema = made()
        for methods in schema["paths"].values():
            for operation in methods.values():
                for parameter in operation.get("parameters", ()):
                    _describe(parameter)
        return schema

    app.openapi = openapi  # type: ignore[method-assign]


def _describe(parameter: dict[str, Any]) -> None:
    text, example = _SHARED.get(parameter["name"], ("", ""))
    if text:
        parameter.setdefault("description", text)
    if example:
        parameter["schema"].setdefault("examples", [example])
