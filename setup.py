"""What pyproject.toml cannot say: the folder `benchmarks/` is the package `mfubench_benchmarks`."""

from setuptools import find_packages, setup

setup(
    packages=[
        *find_packages(include=["mfubench*"]),
        *find_packages("model"),
        "mfubench_benchmarks",
    ]
)
