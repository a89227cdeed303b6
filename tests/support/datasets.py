"""Tiny copies of each dataset's official layout, and helpers to stage them."""

import functools
import http.server
import struct
import threading
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from rehearse.core.config import DatasetSection
from rehearse.datasets._staging import stage_dataset

SHARED = Path(__file__).resolve().parents[3] / "shared" / "datasets"


def ignore(what, done, total):
    """A progress callback."""


def section(name, **options):
    return DatasetSection.model_validate({"name": name, **options})


def stage(name, dataset_dir, source=None, progress=ignore, sha256=None, **options):
    return stage_dataset(section(name, **options), dataset_dir, source, progress, sha256)


def nothing_staged(dataset_dir):
    """Whether no file below the folder looks staged."""
    visible = [path for path in dataset_dir.rglob("*") if not any(part.startswith(".") for part in path.parts[-2:])]
    return not [path for path in visible if path.is_file()] and not list(dataset_dir.rglob("*.partial"))


def fake_source(name, folder):
    """Write a small source tree of a dataset; None where it needs none."""
    if name == "digits":
        return None
    folder.mkdir(parents=True, exist_ok=True)
    WRITERS[name](folder)
    return folder


def write_image(path, width=24, height=16, mode="RGB", seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (height, width, 3) if mode == "RGB" else (height, width)
    pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    Image.fromarray(pixels).convert(mode).save(path)


def write_idx(path, array):
    """A file of MNIST: magic number, sizes, bytes."""
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    path.write_bytes(header + array.tobytes())


def write_mnist(folder, num_train=40, num_test=20):
    rng = np.random.default_rng(0)
    for split, count in (("train", num_train), ("t10k", num_test)):
        images = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        write_idx(folder / f"{split}-images-idx3-ubyte", images)
        write_idx(folder / f"{split}-labels-idx1-ubyte", (np.arange(count) % 10).astype(np.uint8))


def write_class_images(folder, classes, splits=("train", "test"), size=(32, 32), per_class=2):
    for split in splits:
        for label, name in enumerate(classes):
            for number in range(per_class):
                write_image(folder / split / name / f"{number}.png", *size, seed=label)


def write_omniglot(folder):
    for part, alphabet in (("images_background", "Greek"), ("images_evaluation", "Ge_ez")):
        for character in ("character01", "character02"):
            for drawing in (1, 15, 16, 20):
                write_image(folder / part / alphabet / character / f"0001_{drawing:02d}.png", 105, 105, "1", drawing)


def write_caltech(folder):
    for name in ("Leopards", "brain", "BACKGROUND_Google"):
        for number in range(1, 6):
            path = folder / "101_ObjectCategories" / name / f"image_{number:04d}.jpg"
            write_image(path, 30 + number, 20, seed=number)


def write_tinyimagenet(folder):
    lines = []
    for label, name in enumerate(("n01443537", "n02124075")):
        for number in range(3):
            write_image(folder / "train" / name / "images" / f"{name}_{number}.JPEG", 64, 64, seed=number)
        (folder / "train" / name / f"{name}_boxes.txt").write_text(f"{name}_0.JPEG\t0\t0\t63\t63\n")
        write_image(folder / "val" / "images" / f"val_{label}.JPEG", 64, 64, seed=label)
        lines.append(f"val_{label}.JPEG\t{name}\t0\t0\t63\t63\n")
    (folder / "val" / "val_annotations.txt").write_text("".join(lines))


def write_photos(folder, num_classes=3, splits=("train", "val")):
    classes = [f"n{label:08d}" for label in range(num_classes)]
    write_class_images(folder, classes, splits, size=(12, 10), per_class=1)


CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
CIFAR100_CLASSES = ("apple", *(f"class{number:02d}" for number in range(98)), "worm")

WRITERS = {
    "mnist": write_mnist,
    "cifar10": functools.partial(write_class_images, classes=CIFAR10_CLASSES, per_class=1),
    "cifar100": functools.partial(write_class_images, classes=CIFAR100_CLASSES, per_class=1),
    "omniglot": write_omniglot,
    "caltech101": write_caltech,
    "tinyimagenet": write_tinyimagenet,
    "image_folder": write_photos,
    "imagenet": functools.partial(write_photos, num_classes=1000),
    "imagenet_blurred": functools.partial(write_photos, num_classes=1000),
    "imagenet100": functools.partial(write_photos, num_classes=100),
    "imagenet100small": functools.partial(write_photos, num_classes=100),
}


class FileServer(http.server.ThreadingHTTPServer):
    """Serves bytes on the loopback interface and misbehaves on demand.

    Attributes:
        content: Bytes by path.
        ranges: The Range header of each request, in order; None where there was none.
        plan: Behaviours of the next requests: "ok", "cut" (half of what is due), "stall", or a status code.
        honours_ranges: Whether partial requests are answered with a part.
    """

    daemon_threads = True

    def __init__(self, content):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.content = content
        self.ranges, self.plan = [], []
        self.honours_ranges = True
        self.released = threading.Event()

    def url(self, name):
        return f"http://127.0.0.1:{self.server_port}/{name}"


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        server, wanted = self.server, self.headers["Range"]
        server.ranges.append(wanted)
        plan = server.plan.pop(0) if server.plan else "ok"
        body = server.content.get(self.path.lstrip("/"))
        if body is None or isinstance(plan, int):
            return self.send_error(404 if body is None else plan)
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and server.honours_ranges else 0
        if start and start >= len(body):
            return self._send(416, {"Content-Range": f"bytes */{len(body)}", "Content-Length": "0"}, b"")
        headers = {"Content-Length": str(len(body) - start)}
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
        due = body[start:]
        self._send(206 if start else 200, headers, due if plan == "ok" else due[: len(due) // 2])
        if plan == "stall":
            server.released.wait(30)
        return None

    def _send(self, status, headers, body):
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def log_message(self, *args):
        pass


@contextmanager
def serve(content):
    """Run a server in a thread."""
    with FileServer(content) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.released.set()
            server.shutdown()
            thread.join()
