"""Backends: where addresses and a CPU come from.  Each is imported where it is used."""
