"""The documentation as a site: pages written from the worlds, agents and stored results themselves, beside docs/."""
