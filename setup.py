"""Where an installed package differs from the clone: no top-level `export`, and the flagfiles inside."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["tf_simclr*"]), "tf_simclr.flags", "tf_simclr_export"],
    package_dir={"tf_simclr.flags": "flags", "tf_simclr_export": "export"},
    package_data={"tf_simclr.flags": ["**/*.cfg", "**/*.json"]},
)
