"""Images edited by concept: a network finds a wall, a floor, a label; its colour changes, and nothing else.

Layers, each of which imports only from those before it: `errors`; `colour`, `edit` (arrays in, arrays out);
`choices` (palette and presets), `message` (the request); `images` (decode, encode); `weights`, `segment` (the
network), `rehearsal`; `item` (one image), `task` (a message), `files`, `doctor`, `cli`.
"""

__version__ = "0.1.0"
