"""The companion of the paper, built on the library: data, experiments, records, claims, figures.

Nothing in the library imports it. It needs the extra ``study`` and a checkout of the repository.
"""
