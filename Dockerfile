# The suite with the dependencies that constraints.txt pins, for CPUs:
#   docker build -t rl-suite .
#   docker run --rm -v "$PWD/runs:/work/runs" rl-suite train experiment=darkroom,smoke
# For a GPU, leave PIP_ARGS empty (--build-arg PIP_ARGS=) and start it with --gpus all and device=cuda.
FROM python:3.11-slim

ARG PIP_ARGS="--extra-index-url https://download.pytorch.org/whl/cpu"
# numba's kernels are cached where every user may write; one thread for small networks
ENV OMP_NUM_THREADS=1 NUMBA_CACHE_DIR=/tmp/numba PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY setup.cfg pyproject.toml constraints.txt config.yaml train.py evaluate.py README.md LICENSE ./
COPY hyperparams hyperparams
COPY envs envs
COPY agents agents
COPY rl_suite rl_suite
RUN pip install $PIP_ARGS -c constraints.txt ".[ray]" && rm -rf build
WORKDIR /work
ENTRYPOINT ["rl-suite"]
CMD ["--help"]
