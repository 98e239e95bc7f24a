"""The one-machine cluster: every part of Listfleet as processes of this machine, behind `make demo` and the tests."""
