# shellcheck shell=bash
# What bin/demo and bin/check share: Python, its virtual environment, packages of the system.

export PIP_DISABLE_PIP_VERSION_CHECK=1

die() {
    echo "$*" >&2
    exit 1
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        die "This needs root, or sudo: $*"
    fi
}

apt_install() {
    command -v apt-get >/dev/null || die "Please install what this system calls: $*"
    echo "Installing $*" >&2
    as_root apt-get update -qq </dev/null >&2
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -qq -y --no-install-recommends "$@" </dev/null >&2
}

# Run it rather than believe its name: a version manager's shim exists and may still refuse.
find_python() {
    local python
    for python in python3 python3.14 python3.13 python3.12 python3.11; do
        if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$python"
            return
        fi
    done
    die "awfe needs Python 3.11 or newer, and finds none on the PATH."
}

# make_venv DIRECTORY: does nothing when a whole one is there.
make_venv() {
    local python
    "$1/bin/python" -m pip --version >/dev/null 2>&1 && return
    python=$(find_python)
    # Debian's python3 comes without ensurepip.
    "$python" -c 'import ensurepip, venv' 2>/dev/null ||
        apt_install "$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')"
    "$python" -m venv --clear "$1"
}

# install_awfe [EXTRAS]: into .venv, which notes that it was done, and for which place.
install_awfe() {
    make_venv .venv
    echo "Installing awfe into .venv …" >&2
    .venv/bin/python -m pip install --quiet --editable ".${1:+[$1]}"
    pwd >.venv/installed
}

# Needs no network. A checkout that was moved, another Python and new dependencies are noticed.
is_installed() {
    [ .venv/installed -nt pyproject.toml ] && [ "$(<.venv/installed)" = "$PWD" ] &&
        .venv/bin/python -c 'import importlib.metadata as m; m.version("awfe")' 2>/dev/null
}
