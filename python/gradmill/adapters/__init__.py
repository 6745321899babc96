"""Steps for arrays that other programs own, in the form in which each program asks for them.

One module a program; none is imported before it is asked for, and each needs its program installed:
``pip install "gradmill[torch]"`` for ``gradmill.adapters.torch``.
"""
