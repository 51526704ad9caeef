from pathlib import Path

from setuptools import find_packages, setup

version = Path("cmvl/__init__.py").read_text().split('__version__ = "')[1].split('"')[0]

setup(
    name="cmvl",
    version=version,
    description="End-to-end video-level learning with collaborative memories",
    long_description=Path("README.md").read_text(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    packages=find_packages(include=["cmvl", "cmvl.*"]),
    python_requires=">=3.10",
    install_requires=[
        "torch>=2.6",
        "torchvision>=0.21",
        "fvcore",
        "iopath",
        "av>=17",
        "simplejson",
        "tensorboard",
        "opencv-python",
        "matplotlib",  # figures
    ],
    extras_require={
        "dev": ["pytest", "pytest-xdist", "ruff", "submitit"],
        "slurm": ["submitit"],  # for tools/slurm.py
    },
)
