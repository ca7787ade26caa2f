"""Hypothesis profiles without a deadline, because test machines are shared.

``pytest --hypothesis-profile=thorough tests/property`` searches for much longer.
"""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "repository",
    deadline=None,
    max_examples=60,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("thorough", settings.get_profile("repository"), max_examples=1000)
settings.load_profile("repository")
