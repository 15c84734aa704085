"""Kills a run over many pictures at random moments, goes on with --resume, and compares with a run that nothing ended.

    python tests/kill_and_resume.py CAMSCOPE [PICTURES] [KILLS] [SEED]

By default 500 pictures and 20 kills. Everything that both wrote must be the same, byte for byte. The committed test
(`crates/camscope/tests/end_to_end/resume.rs`) does the same at fixed points over a few pictures.
"""

import filecmp
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
MODEL = ROOT / "tests/fixtures/classifiers/mobilenet_v2.ts.onnx"
OPTIONS = "--ep cpu --threads 1 --batch 4 --class 3 --method gradcam --method hirescam -o out --raw raw --report page"


def pictures(folder, count, draw):
    """Small pictures without a library: noise in blocks. One is broken."""
    (folder / "photos").mkdir(parents=True)
    for number in range(count):
        blocks = [[draw.randbytes(3) for _ in range(12)] for _ in range(12)]
        rows = b"".join(b"".join(block * 8 for block in row) * 8 for row in blocks)
        (folder / f"photos/{number:05}.ppm").write_bytes(b"P6 96 96 255\n" + rows)
    (folder / f"photos/{count // 3:05}.ppm").write_bytes(b"this is no picture")


def command(program, more=()):
    return [program, "explain", "net.onnx", "photos", *OPTIONS.split(), *more]


def lines(folder):
    results = folder / "out/results.jsonl"
    return results.read_bytes().count(b"\n") if results.exists() else 0


def files(folder):
    return sorted(path.relative_to(folder) for part in ["out", "raw", "page"] for path in (folder / part).rglob("*"))


def main():
    program = pathlib.Path(sys.argv[1]).resolve()
    count, kills, seed = [int(word) for word in sys.argv[2:]] + [500, 20, 1][len(sys.argv) - 2 :]
    draw = random.Random(seed)
    with tempfile.TemporaryDirectory() as base:
        whole, killed = pathlib.Path(base) / "whole", pathlib.Path(base) / "killed"
        for folder in [whole, killed]:
            pictures(folder, count, random.Random(seed))
            (folder / "net.onnx").write_bytes(MODEL.read_bytes())
        start = time.monotonic()
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        status = subprocess.run(command(program), cwd=whole, **quiet).returncode
        took = time.monotonic() - start
        print(f"undisturbed: {lines(whole)} lines in {took:.1f} s, status {status}")
        # Moments over the whole run, in order of the lines that are there; each a random while later.
        for wanted in sorted(draw.randrange(lines(whole)) for _ in range(kills)):
            child = subprocess.Popen(command(program, ["--resume"]), cwd=killed, **quiet)
            while child.poll() is None and lines(killed) < wanted:
                time.sleep(0.001)
            time.sleep(draw.random() * took / count)
            child.send_signal(signal.SIGKILL)
            ended = child.wait()
            parts = len(list(killed.rglob(".*camscope-part*")))
            print(f"killed with {lines(killed)} lines and {parts} unfinished files" if ended < 0 else "ended by itself")
        again = subprocess.run(command(program, ["--resume"]), cwd=killed, **quiet).returncode
        assert again == status, (again, status)
        assert files(whole) == files(killed), set(files(whole)) ^ set(files(killed))
        names = [str(name) for name in files(whole) if (whole / name).is_file()]
        _, other, unread = filecmp.cmpfiles(whole, killed, names, shallow=False)
        assert not other and not unread, (other[:5], unread[:5])
        print(f"{len(names)} files are the same, byte for byte")


if __name__ == "__main__":
    main()
