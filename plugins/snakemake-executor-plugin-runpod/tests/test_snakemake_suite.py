"""Snakemake's own test workflows for executor plugins: their rules name no endpoint, and run here."""

from __future__ import annotations

import snakemake.common.tests

from snakemake_executor_plugin_runpod import ExecutorSettings


class TestWorkflows(snakemake.common.tests.TestWorkflowsLocalStorageBase):
    __test__ = True

    def get_executor(self) -> str:
        return "runpod"

    def get_executor_settings(self) -> ExecutorSettings:
        return ExecutorSettings()
