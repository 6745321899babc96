"""Optimizers with the interfaces of other programs, for arrays that these programs own.

There is one module per program. None is imported unless you ask for it, and each needs its program:
``pip install "gradmill[torch]"`` for ``gradmill.adapters.torch``.
"""
