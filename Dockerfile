# The suite with the dependencies that constraints.txt pins:
#   docker build -t rl-suite .
#   docker run --rm -v "$PWD/runs:/experiments/runs" rl-suite train experiment=darkroom,smoke
# Without a GPU, an index with CPU builds of torch and torchvision saves gigabytes:
#   docker build -t rl-suite --build-arg PIP_ARGS="--extra-index-url <an index with CPU builds>" .
# With one, start it with --gpus all and device=cuda.
FROM python:3.11-slim

ARG PIP_ARGS=""
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
WORKDIR /experiments
ENTRYPOINT ["rl-suite"]
CMD ["--help"]
