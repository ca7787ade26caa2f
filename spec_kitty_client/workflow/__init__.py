"""The workflow verbs: generators of steps, without any I/O."""
