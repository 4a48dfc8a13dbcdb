"""Looking a name up in a registry, with an error that lists the known names."""


def look_up(registry, name, *, kind):
    """Returns `registry[name]`.

    Args:
        registry: dict by name, or by number.
        name: the name asked for.
        kind: what the registry holds, for the message ("encoder").

    Raises:
        ValueError: if the name is unknown; the message lists the known ones.
    """
    if name not in registry:
        raise ValueError(f"unknown {kind} {name!r}; known: {', '.join(map(str, sorted(registry)))}")
    return registry[name]
