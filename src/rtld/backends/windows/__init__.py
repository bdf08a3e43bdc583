"""Windows as a program sees it: the functions of its DLLs as tables, and what they act on. One file for each DLL.

``api`` has the tables' form, ``system`` the state behind them, ``machine`` runs a program's code on an emulated CPU. Nothing
here reads a PE file: the loader (``rtld.pe``) and this meet in ``process/windows/run.py``.
"""
