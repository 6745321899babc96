"""Trees of arrays and whole optimizers in files, from which a run goes on with the same bits.

A checkpoint is one file, of a format that other programs read: ``.npz`` is NumPy's, and
``.safetensors`` is read by libraries for torch, JAX and others. Its header describes the trees, and
nothing in it is a pickle.
"""

from gradmill.checkpoints._load import header as header
from gradmill.checkpoints._load import load as load
from gradmill.checkpoints._save import save as save

__all__ = [name for name in dir() if not name.startswith("_")]
