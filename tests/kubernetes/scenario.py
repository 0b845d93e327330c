#!/usr/bin/env python3
"""scenario.py PROGRAMS KUBELET WORK: rcrun-cri under a kubelet with static Pods, on the node that `node` makes.

Each test is a function named test_*, in the order of the file: later ones go on with the Pods of the earlier ones. What they
say is libtest's language, for tests/bin/suites.
"""

import io
import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
import tarfile
import time
import traceback
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

PROGRAMS, KUBELET, WORK = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
SOCKET = "/run/rcrun/cri.sock"
IMAGE = "localhost/busybox:test"
PATIENCE = float(os.environ.get("RCRUN_TEST_PATIENCE", "1"))
MANIFESTS = WORK / "manifests"

CRI_CONFIG = f"""
state = "{WORK}/cri"
images = "{WORK}/images"
missing_controllers = "skip"
"""

KUBELET_CONFIG = {
    "apiVersion": "kubelet.config.k8s.io/v1beta1",
    "kind": "KubeletConfiguration",
    "containerRuntimeEndpoint": "unix://" + SOCKET,
    "staticPodPath": str(MANIFESTS),
    "fileCheckFrequency": "1s",
    "syncFrequency": "5s",
    "address": "0.0.0.0",
    "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}},
    "authorization": {"mode": "AlwaysAllow"},
    "cgroupsPerQOS": False,
    "enforceNodeAllocatable": [],
    "cgroupDriver": "cgroupfs",
    "failSwapOn": False,
    "oomScoreAdj": 0,
    "makeIPTablesUtilChains": False,
    "protectKernelDefaults": True,
    "resolvConf": "",
    "localStorageCapacityIsolation": True,
    "evictionHard": {"nodefs.available": "1%", "imagefs.available": "1%", "memory.available": "1Mi"},
    "featureGates": {"PodAndContainerStatsFromCRI": True},
    "imageGCHighThresholdPercent": 100,
    "containerLogMaxSize": "64Ki",
    "containerLogMonitorInterval": "3s",
}


class Programs:
    """rcrun-cri and kubelet, each with its log."""

    def __init__(self):
        self.running = {}

    def start(self, name, *command):
        log = open(WORK / f"{name}.log", "ab")
        self.running[name] = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )

    def kill(self, name, number=signal.SIGKILL):
        process = self.running.pop(name)
        process.send_signal(number)
        process.wait()

    def cri(self):
        self.start("rcrun-cri", PROGRAMS / "rcrun-cri", "--config", WORK / "cri.toml")
        wait("rcrun-cri's socket", lambda: os.path.exists(SOCKET))

    def kubelet(self):
        self.start(
            "kubelet", KUBELET, "--config", WORK / "kubelet.json", "--hostname-override", "node",
            "--node-ip", "10.9.0.1", "--root-dir", "/var/lib/kubelet", "--v", "2",
        )
        wait("kubelet", lambda: get("/healthz") == b"ok", 60)


programs = Programs()


def wait(what, condition, seconds=30.0):
    """The first true value of `condition`; what it raises counts as false."""
    end, last = time.monotonic() + seconds * PATIENCE, None
    while time.monotonic() < end:
        try:
            value = condition()
            if value:
                return value
        except (OSError, ValueError, LookupError, StopIteration, urllib.error.URLError) as error:
            last = error
        time.sleep(0.1)
    raise AssertionError(f"no {what} after {seconds * PATIENCE:.0f} s" + (f": {last}" if last else ""))


def get(path, **query):
    """kubelet's answer, as bytes."""
    return call("GET", path, **query)


def call(method, path, **query):
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    url = f"https://127.0.0.1:10250{path}" + ("?" + urllib.parse.urlencode(query, doseq=True) if query else "")
    with urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=20, context=context) as answer:
        return answer.read()


def pod(name):
    """kubelet's view of a static Pod."""
    pods = json.loads(get("/pods"))["items"] or []
    return next(p for p in pods if p["metadata"]["name"] == f"{name}-node")


def status(name, container):
    statuses = pod(name)["status"].get("containerStatuses") or []
    return next(s for s in statuses if s["name"] == container)


def ready(name):
    conditions = {c["type"]: c["status"] for c in pod(name)["status"].get("conditions", [])}
    return conditions.get("Ready") == "True"


def logs(name, container, **query):
    return get(f"/containerLogs/default/{name}-node/{container}", **query).decode()


def in_container(name, container, *command):
    """What a command in a container writes: kubelet's /run, which is ExecSync."""
    return call("POST", f"/run/default/{name}-node/{container}", cmd=" ".join(command)).decode()


def apply(name, spec):
    """A new static Pod: written beside, renamed there, so that kubelet sees it whole."""
    spec.setdefault("terminationGracePeriodSeconds", 1)
    manifest = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default"}, "spec": spec}
    new = WORK / f"{name}.new"
    new.write_text(json.dumps(manifest))
    os.rename(new, MANIFESTS / f"{name}.json")


def container(name, *command, **more):
    return {"name": name, "image": IMAGE, "imagePullPolicy": "Never", "command": list(command), **more}


def make_image(path):
    """Debian's static busybox with a link for each program, as a docker archive."""
    busybox = Path("/bin/busybox").read_bytes()
    programs_of = subprocess.run(["/bin/busybox", "--list"], check=True, capture_output=True, text=True).stdout.split()
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        for directory in ("bin", "etc", "tmp", "www", "root"):
            entry = tarfile.TarInfo(directory)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if directory == "tmp" else 0o755
            tar.addfile(entry)
        entry = tarfile.TarInfo("bin/busybox")
        entry.mode, entry.size = 0o755, len(busybox)
        tar.addfile(entry, io.BytesIO(busybox))
        for program in programs_of:
            if program != "busybox":
                entry = tarfile.TarInfo(f"bin/{program}")
                entry.type, entry.linkname = tarfile.LNKTYPE, "bin/busybox"
                tar.addfile(entry)
        passwd = b"root:x:0:0:root:/root:/bin/sh\n"
        entry = tarfile.TarInfo("etc/passwd")
        entry.size = len(passwd)
        tar.addfile(entry, io.BytesIO(passwd))
    import hashlib

    diff_id = "sha256:" + hashlib.sha256(layer.getvalue()).hexdigest()
    config = json.dumps({
        "architecture": "arm64" if os.uname().machine == "aarch64" else "amd64",
        "os": "linux",
        "config": {"Env": ["PATH=/bin"], "Cmd": ["sh"]},
        "rootfs": {"type": "layers", "diff_ids": [diff_id]},
    }).encode()
    manifest = json.dumps([{"Config": "config.json", "RepoTags": [IMAGE], "Layers": ["layer.tar"]}]).encode()
    with tarfile.open(path, "w") as tar:
        for name, data in (("config.json", config), ("layer.tar", layer.getvalue()), ("manifest.json", manifest)):
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))


def test_a_static_pod_of_two_containers_runs():
    apply("two", {
        "containers": [
            container("web", "sh", "-c", "echo hello over localhost >/www/index.html; exec httpd -f -p 8080 -h /www",
                      readinessProbe={"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1},
                      livenessProbe={"tcpSocket": {"port": 8080}, "periodSeconds": 1}),
            container("client", "sh", "-c", "while :; do wget -qO- http://127.0.0.1:8080/; sleep 1; done",
                      readinessProbe={"exec": {"command": ["true"]}, "periodSeconds": 1}),
        ],
    })
    wait("ready Pod two", lambda: ready("two"), 60)
    address = pod("two")["status"]["podIP"]
    assert address.startswith("10.88."), address


def test_its_containers_reach_each_other_over_localhost():
    wait("line of the web server", lambda: "hello over localhost" in logs("two", "client"))


def test_logs_are_read_by_lines_and_times():
    assert logs("two", "client", tailLines=1).splitlines()[-1:] == ["hello over localhost"]
    first = logs("two", "client", timestamps="true").splitlines()[0].split(" ", 1)
    assert first[0].endswith("Z") and "T" in first[0] and first[1] == "hello over localhost", first


def test_a_command_runs_in_a_container():
    assert in_container("two", "web", "hostname").strip() == "two-node"


def test_the_pods_statistics_are_in_the_summary():
    def summary():
        pods = json.loads(get("/stats/summary"))["pods"]
        found = next(p for p in pods if p["podRef"]["name"] == "two-node")
        return {c["name"] for c in found["containers"]} == {"web", "client"} and "network" in found
    wait("summary of Pod two", summary)


def test_a_container_that_crashes_is_started_again():
    apply("crash", {"containers": [container("dies", "sh", "-c", "echo here; sleep 1; exit 3")]})
    state = wait("restart", lambda: (s := status("crash", "dies"))["restartCount"] >= 1 and s, 60)
    ended = state["lastState"]["terminated"]
    assert ended["exitCode"] == 3 and ended["reason"] == "Error", ended
    assert "here" in logs("crash", "dies", previous="true")


def test_a_probe_that_fails_restarts_its_container():
    apply("sick", {"containers": [container(
        "c", "sh", "-c", "touch /tmp/well; sleep 2; rm /tmp/well; sleep 1000",
        livenessProbe={"exec": {"command": ["cat", "/tmp/well"]}, "periodSeconds": 1, "failureThreshold": 2})]})
    state = wait("restart", lambda: (s := status("sick", "c"))["restartCount"] >= 1 and s, 60)
    assert state["lastState"]["terminated"]["exitCode"] == 137, state


def test_a_program_that_is_missing_is_told():
    apply("missing", {"containers": [container("c", "/no/such/program")]})
    def told():
        state = status("missing", "c")
        text = json.dumps(state)
        return "/no/such/program" in text and ("CrashLoopBackOff" in text or "StartError" in text)
    wait("message about the program", told, 60)


def test_volumes_users_and_security_contexts_hold():
    apply("strict", {
        "volumes": [{"name": "shared", "emptyDir": {}}, {"name": "host", "hostPath": {"path": str(WORK / "host")}}],
        "securityContext": {"runAsUser": 1234, "runAsGroup": 2345, "fsGroup": 3456, "supplementalGroups": [4567]},
        "initContainers": [container("first", "sh", "-c", "id >/shared/first", volumeMounts=[
            {"name": "shared", "mountPath": "/shared"}])],
        "containers": [container(
            "c", "sh", "-c", "cat /shared/first; id; touch /x; grep -E 'NoNewPrivs|Seccomp:|CapEff' /proc/self/status; sleep 1000",
            securityContext={"readOnlyRootFilesystem": True, "allowPrivilegeEscalation": False,
                             "capabilities": {"drop": ["ALL"]}, "seccompProfile": {"type": "RuntimeDefault"}},
            volumeMounts=[{"name": "shared", "mountPath": "/shared"}, {"name": "host", "mountPath": "/host", "readOnly": True}])],
    })
    text = wait("the lines", lambda: (t := logs("strict", "c")).count("\n") >= 6 and t, 60)
    assert text.count("uid=1234 gid=2345") == 2 and "3456" in text and "4567" in text, text
    assert "Read-only file system" in text, text
    for line in ("NoNewPrivs:\t1", "Seccomp:\t2", "CapEff:\t0000000000000000"):
        assert line in text, text


def test_a_pod_can_have_the_hosts_network_and_one_process_namespace():
    apply("host", {"hostNetwork": True, "containers": [container("c", "sh", "-c", "ip address show node0; sleep 1000")]})
    apply("shared", {"shareProcessNamespace": True, "containers": [
        container("a", "sleep", "1234"), container("b", "sh", "-c", "while :; do ps; sleep 1; done")]})
    wait("the node's address", lambda: "10.9.0.1" in logs("host", "c"), 60)
    wait("the other's process", lambda: "sleep 1234" in logs("shared", "b"), 60)


def test_a_host_port_answers():
    apply("port", {"containers": [container(
        "c", "sh", "-c", "echo by the host >/www/index.html; exec httpd -f -p 80 -h /www",
        ports=[{"containerPort": 80, "hostPort": 9080}])]})
    for host in ("127.0.0.1", "10.9.0.1", "[::1]"):
        wait(f"answer of {host}:9080", lambda: urllib.request.urlopen(
            f"http://{host}:9080/", timeout=3).read() == b"by the host\n", 60)


def test_a_log_is_rotated_and_no_line_is_lost():
    apply("talk", {"restartPolicy": "Never", "containers": [container(
        "c", "sh", "-c", "i=0; while [ $i -lt 40000 ]; do echo line $i; i=$((i+1)); [ $((i % 4000)) = 0 ] && sleep 1; done")]})
    wait("end", lambda: "terminated" in status("talk", "c")["state"], 120)
    [directory] = Path("/var/log/pods").glob("default_talk-node_*/c")
    files = sorted(directory.iterdir())
    assert len(files) > 1, files
    import gzip
    lines = set()
    for file in files:
        data = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
        for line in data.decode().splitlines():
            when, stream, tag, text = line.split(" ", 3)
            assert stream == "stdout" and tag == "F", line
            lines.add(int(text.split()[1]))
    # kubelet keeps five files; what is left is without a gap.
    assert lines == set(range(min(lines), 40000)), (min(lines), len(lines))


def test_rcrun_cri_is_killed_and_pods_go_on():
    def ids():
        return {c["containerID"] for name in ("two", "strict", "shared", "port")
                for c in pod(name)["status"]["containerStatuses"]}
    before = ids()
    programs.kill("rcrun-cri")
    urllib.request.urlopen("http://127.0.0.1:9080/", timeout=3).read()
    programs.cri()
    wait("ready Pod two", lambda: ready("two"), 60)
    time.sleep(6)  # kubelet has looked again by then
    assert ids() == before, (before, ids())
    wait("exec", lambda: in_container("two", "web", "echo", "again").strip() == "again")


def test_kubelet_is_started_again_and_keeps_its_containers():
    before = status("two", "web")["containerID"]
    programs.kill("kubelet", signal.SIGTERM)
    programs.kubelet()
    wait("ready Pod two", lambda: ready("two"), 60)
    assert status("two", "web")["containerID"] == before


def test_removed_manifests_leave_nothing():
    for manifest in list(MANIFESTS.iterdir()):
        manifest.unlink()
    def gone():
        return not (json.loads(get("/pods"))["items"] or []) and not list(Path("/run/rcrun/cri/shims").iterdir())
    wait("end of all Pods", gone, 90)
    # Sandboxes are removed by kubelet's collection, once a minute.
    wait("removal of the sandboxes", lambda: not any(Path("/run/netns").iterdir()), 150)
    mounts = [line for line in open("/proc/self/mountinfo") if "/run/rcrun" in line or "/run/netns/" in line]
    assert not mounts, mounts


def main():
    shutil.rmtree(WORK / "host", ignore_errors=True)
    MANIFESTS.mkdir()
    (WORK / "host").mkdir()
    (WORK / "cri.toml").write_text(CRI_CONFIG)
    (WORK / "kubelet.json").write_text(json.dumps(KUBELET_CONFIG))
    make_image(WORK / "image.tar")
    subprocess.run([PROGRAMS / "rcrun", "--storage", WORK / "images", "load", "-i", WORK / "image.tar"], check=True)
    programs.cri()
    programs.kubelet()
    tests = [(name, test) for name, test in list(globals().items()) if name.startswith("test_")]
    chosen = os.environ.get("RCRUN_KUBERNETES_TESTS", "").split()
    failed = 0
    for name, test in tests:
        if chosen and not any(word in name for word in chosen):
            continue
        start = time.monotonic()
        try:
            test()
            print(f"test kubernetes::{name[5:]} ... ok", f"({time.monotonic() - start:.1f} s)", flush=True)
        except Exception:
            failed += 1
            print(f"test kubernetes::{name[5:]} ... FAILED", flush=True)
            print(f"---- kubernetes::{name[5:]} stdout ----\n{traceback.format_exc()}", flush=True)
    for name in list(programs.running):
        programs.kill(name, signal.SIGTERM)
    if failed:
        for name in ("rcrun-cri", "kubelet"):
            lines = (WORK / f"{name}.log").read_text(errors="replace").splitlines()[-60:]
            print(f"---- the end of {name}'s log ----", *lines, sep="\n", flush=True)
        keep = os.environ.get("RCRUN_KUBERNETES_KEEP")
        if keep:
            shutil.copytree(WORK, keep, dirs_exist_ok=True, ignore=shutil.ignore_patterns("images", "kubelet", "pods"))
    word = "FAILED" if failed else "ok"
    print(f"test result: {word}. {len(tests) - failed} passed; {failed} failed; 0 ignored", flush=True)
    sys.exit(1 if failed else 0)


main()
