"""A large file through the gateway, both ways, beside nginx serving the same file, interleaved: `make bench`.

Downloads are those of curl from both. The upload is Hive's own, which hashes nothing: that was done before. CPU is that
of the gateway process, memory its resident memory beyond what it had before. Before each step the disk has been given
time to write what came before, and a first upload, which is not counted, has given the page cache its size.
"""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from hive.home import start, stop
from hive.home.gateway_process import running_pid
from hive.settings import load_settings
from hive.staging import FileContent, Reference, digest_of
from hive.staging.gateway import GatewayBlobs
from tools.bench_throughput import free_port

SIZE = 10**9
ROUNDS = 3
NGINX = """
daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log; worker_processes 1;
events {{ worker_connections 64; }}
http {{
  access_log off; sendfile on; client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
  uwsgi_temp_path {folder}; scgi_temp_path {folder};
  server {{ listen 127.0.0.1:{port}; root {folder}; }}
}}
"""


def main() -> None:
    """Move the file, print rates and their ratios."""
    if shutil.which("nginx") is None or shutil.which("curl") is None:
        sys.exit("bench_files: needs nginx and curl: apt-get install nginx-light curl")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        file = folder / "large.bin"
        with file.open("wb") as written:
            for _ in range(SIZE // 10**6):
                written.write(os.urandom(10**6))
        file.chmod(0o644)
        flags = {"home": folder / "home", "redis_port": free_port(), "gateway_port": free_port()}
        start(load_settings(flags, {}))
        port = free_port()
        (folder / "nginx.conf").write_text(NGINX.format(folder=folder, port=port))
        nginx = subprocess.Popen(["nginx", "-c", str(folder / "nginx.conf")], stderr=subprocess.DEVNULL)
        try:
            time.sleep(1)
            measure(file, f"http://127.0.0.1:{port}/large.bin", load_settings(flags, {}))
        finally:
            nginx.terminate()
            nginx.wait()
            stop(load_settings(flags, {}))


def measure(file: Path, peer: str, settings) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    """Take turns: nginx, upload, download."""
    gateway = psutil.Process(running_pid(settings))
    blobs = GatewayBlobs(f"{settings.gateway_url}/blob", settings.token)
    reference = Reference(digest_of(file), file.name)
    place = settings.home / "store" / "sha256" / reference.digest[:2] / reference.digest
    before = gateway.memory_info().rss
    blobs.put(FileContent(file), reference)
    ups, downs, seconds, most = [], [], [], before
    for number in range(ROUNDS):
        nginx = SIZE / timed(lambda: curl(peer)) / 1e6
        place.unlink()  # only now: a virtual machine takes time to give memory again that was free for a second
        cpu = used(gateway)
        up = SIZE / timed(lambda: blobs.put(FileContent(file), reference)) / 1e6
        most = max(most, gateway.memory_info().rss)
        middle = used(gateway)
        down = SIZE / timed(lambda: curl(f"{settings.gateway_url}/blob/{reference.digest}", settings.token)) / 1e6
        most = max(most, gateway.memory_info().rss)
        ups.append(up / nginx)
        downs.append(down / nginx)
        seconds.append(used(gateway) - cpu)
        sent, brought = f"{up:.0f} MB/s ({up / nginx:.2f})", f"{down:.0f} MB/s ({down / nginx:.2f})"
        print(
            f"round {number + 1}: nginx {nginx:.0f} MB/s; up {sent}, {middle - cpu:.2f} s CPU; "
            f"down {brought}, {used(gateway) - middle:.2f} s CPU"
        )
    print(
        f"median: up {statistics.median(ups):.2f}, down {statistics.median(downs):.2f} of nginx; "
        f"{statistics.median(seconds):.2f} s CPU both ways; {(most - before) / 1e6:.0f} MB more memory"
    )


def timed(step) -> float:  # type: ignore[no-untyped-def]  # noqa: ANN001
    """Seconds that a step takes."""
    os.sync()
    begin = time.monotonic()
    step()
    return time.monotonic() - begin


def used(process: psutil.Process) -> float:
    """CPU of a process so far [s]."""
    times = process.cpu_times()
    return float(times.user + times.system)


def curl(url: str, token: str = "") -> None:
    """Read a file and throw it away."""
    subprocess.run(
        ["curl", "--silent", "--fail", "--output", os.devnull, "--header", f"Authorization: Bearer {token}", url],
        check=True,
    )


if __name__ == "__main__":
    main()
