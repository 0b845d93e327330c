#!/usr/bin/env python3
"""The images that critest asks for, under the names that it asks for, as a registry that can only be read.

images.py PROGRAM PORT serves them on 127.0.0.1:PORT; PROGRAM is program.c, built statically.
images.py PROGRAM prints the digest of the image that critest pulls by digest.

They are made of Debian's static busybox, whose applets are hard links, and of dash: busybox's own shell would run its applets
without looking for their files, and some specs mask files.
"""
import gzip, hashlib, http.server, io, json, os, shutil, subprocess, sys, tarfile

E2E, STAGING = "e2e-test-images/", "k8s-staging-cri-tools/"
ENV = ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]
PASSWD = """root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/bin/false
bin:x:2:2:bin:/bin:/bin/false
mail:x:8:8:mail:/var/spool/mail:/bin/false
www-data:x:33:33:www-data:/var/www:/bin/false
nobody:x:65534:65534:nobody:/home:/bin/false
"""
GROUP = "root:x:0:\ndaemon:x:1:\nbin:x:2:\nmail:x:8:\nwheel:x:10:root\nwww-data:x:33:\nusers:x:100:\nnogroup:x:65534:\n"
blobs, manifests = {}, {}


def read(path):
    with open(path, "rb") as file:
        return file.read()


def put(data):
    digest = "sha256:" + hashlib.sha256(data).hexdigest()
    blobs[digest] = data
    return digest


def layer(entries):
    """A tar archive of {path: (kind, content, mode)}, the same each time; its descriptor and the digest of what is in it."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for path, (kind, content, mode) in sorted(entries.items(), key=lambda e: (e[1][0] == tarfile.LNKTYPE, e[0])):
            info = tarfile.TarInfo(path)
            info.type, info.mode = kind, mode
            if kind == tarfile.REGTYPE:
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
            else:
                info.linkname = content
                tar.addfile(info)
    plain = out.getvalue()
    packed = gzip.compress(plain, 6, mtime=0)
    diff_id = "sha256:" + hashlib.sha256(plain).hexdigest()
    return {"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": put(packed), "size": len(packed)}, diff_id


def image(names, layers, config):
    made = {"architecture": {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine], "os": "linux", "config": config,
            "rootfs": {"type": "layers", "diff_ids": [diff_id for _, diff_id in layers]}}
    data = json.dumps(made, sort_keys=True).encode()
    kind = "application/vnd.oci.image.config.v1+json"
    manifest = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "config": {"mediaType": kind, "digest": put(data), "size": len(data)}, "layers": [l for l, _ in layers]}
    data = json.dumps(manifest, sort_keys=True).encode()
    digest = put(data)
    for name in names:
        manifests[name] = manifests[name.rpartition(":")[0] + ":" + digest] = data
    return digest


def file(content, mode=0o644):
    return tarfile.REGTYPE, content if isinstance(content, bytes) else content.encode(), mode


def directory(mode=0o755):
    return tarfile.DIRTYPE, "", mode


def libraries(program):
    """What a dynamic program needs, at the places where it looks."""
    words = subprocess.run(["ldd", program], capture_output=True, text=True).stdout.split()
    return {path.lstrip("/"): file(read(path), 0o755) for path in words if path.startswith("/")}


def busybox():
    path = shutil.which("busybox")
    entries = {name: directory() for name in "bin dev etc home proc root run sys usr usr/sbin var var/run var/log var/www".split()}
    entries["tmp"] = directory(0o1777)
    entries["bin/busybox"] = file(read(path), 0o755)
    for applet in subprocess.check_output([path, "--list"], text=True).split():
        if applet not in ("busybox", "sh"):
            entries["bin/" + applet] = tarfile.LNKTYPE, "bin/busybox", 0o755
    # Debian's static one lacks pgrep and ipcs.
    entries.setdefault("bin/pgrep", file("#!/bin/sh\nexec pidof \"$@\"\n", 0o755))
    for name, program in ("sh", "dash"), ("ipcs", "ipcs"):
        path = shutil.which(program)
        entries.update(libraries(path))
        entries["bin/" + name] = file(read(path), 0o755)
    entries.update({"etc/passwd": file(PASSWD), "etc/group": file(GROUP), "etc/shadow": file("root:*:::::::\n", 0o600)})
    return layer(entries)


def make(program):
    base, own = busybox(), read(program)
    shell = {"Env": ENV, "Cmd": ["sh"]}
    arch = {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]
    image([E2E + "busybox:1.29-2"], [base], shell)
    for names, name, port, page, stop in (
        ([E2E + "nginx:1.14-2"], "nginx", 80, "Welcome to nginx!", "SIGQUIT"),
        ([f"{STAGING}hostnet-nginx-{arch}:latest"], "nginx", 12003, "Welcome to nginx!", "SIGQUIT"),
        ([E2E + "httpd:2.4.39-4"], "httpd", 80, "It works!", "SIGWINCH"),
    ):
        env = [*ENV, f"PORT={port}", f"PAGE=<html><body><h1>{page}</h1></body></html>\n"]
        image(names, [base, layer({f"usr/sbin/{name}": file(own, 0o755)})],
              {"Env": env, "Cmd": [name], "ExposedPorts": {f"{port}/tcp": {}}, "StopSignal": stop})
    image([E2E + "nonewprivs:1.3"], [base, layer({"nnp": file(own, 0o4755)})], {"Env": ENV, "Entrypoint": ["/nnp"]})
    for name, user in ("uid", "1002"), ("username", "www-data"), ("uid-group", "1003:1004"), ("username-group", "www-data:1004"):
        image([f"{STAGING}test-image-user-{name}:latest"], [base], {**shell, "User": user})
    groups = {"etc/passwd": file(PASSWD + "default-user:x:1000:1000::/home:/bin/sh\n"),
              "etc/group": file(GROUP + "default-user:x:1000:\ngroup-defined-in-image:x:50000:default-user\n")}
    image([STAGING + "test-image-predefined-group:latest"], [base, layer(groups)], {**shell, "User": "1000"})
    several = [f"test-image-tags:{n}" for n in (1, 2, 3)]
    for names in (["test-image-1:latest"], ["test-image-2:latest"], ["test-image-3:latest"], ["test-image-latest:latest"],
                  several, ["test-image-tag:test"], ["test-image-tag:all"]):
        image([STAGING + name for name in names], [base, layer({names[0].replace(":", "-"): file("")})], shell)
    for version in "3.9", "3.10":
        image([f"pause:{version}"], [layer({"pause": file(own, 0o755)})], {"Entrypoint": ["/pause"], "Labels": {"version": version}})
    return image([STAGING + "test-image-digest:latest"], [base, layer({"digest": file("")})], shell)


class Registry(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        parts = self.path.strip("/").split("/")
        kind = "application/json"
        if parts == ["v2"]:
            data = b"{}"
        elif len(parts) > 3 and parts[-2] == "manifests":
            data, kind = manifests.get("/".join(parts[1:-2]) + ":" + parts[-1]), "application/vnd.oci.image.manifest.v1+json"
        else:
            data, kind = blobs.get(parts[-1]), "application/octet-stream"
        code = "MANIFEST_UNKNOWN" if kind.endswith("+json") else "BLOB_UNKNOWN"
        self.send_response(404 if data is None else 200)
        data = json.dumps({"errors": [{"code": code, "message": "unknown"}]}).encode() if data is None else data
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        if kind.endswith("+json"):
            self.send_header("Docker-Content-Digest", "sha256:" + hashlib.sha256(data).hexdigest())
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data)

    do_HEAD = do_GET

    def log_message(self, *_):
        pass


digest = make(sys.argv[1])
if len(sys.argv) == 2:
    print(digest)
else:
    http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[2])), Registry).serve_forever()
