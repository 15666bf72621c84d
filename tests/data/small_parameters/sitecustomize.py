"""For programs that a test starts: parameters are as small as can be; official ones have 373 MB a model."""

from tests.engine.toys import TOY_PARAMETERS

from snakefold.engines.alphafold2 import weights_whole

weights_whole.expected_shapes = lambda name, blocks: TOY_PARAMETERS
