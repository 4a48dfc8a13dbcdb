"""Looking a name up, with an error that lists the known names."""


def look_up(registry, name, *, kind):
    """Returns `registry[name]`.

    Args:
        registry: dict by name, or by number.
        name: the name asked for.
        kind: what the registry holds, for the message ("encoder").

    Raises:
        ValueError: if the name is unknown; the message lists the known ones.
    """
    check_known(registry, name, kind=kind)
    return registry[name]


def check_known(names, name, *, kind):
    """Raises the ValueError of `look_up` if a name is not among some names."""
    if name not in names:
        raise ValueError(f"unknown {kind} {name!r}; known: {', '.join(map(str, sorted(names)))}")
