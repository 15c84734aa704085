"""The package as it is installed, against its own command: `python -m unittest discover python/tests`."""

import fcntl
import json
import os
import pickle
import pty
import select
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import unittest
import warnings
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image

import camscope

MODEL = camscope.demo() / "efficientnet-lite0.onnx"
PHOTO = camscope.demo() / "cat_and_coffee.jpg"
# How long a process may take that is to end: nothing passes or fails by it. A model is made ready to its end before Ctrl-C counts, which takes
# minutes where many others want the processors.
PATIENCE = 600


def command(*words, **more):
    """Runs the command `camscope`, which has to succeed, and returns what it prints."""
    done = subprocess.run(
        [sys.executable, "-m", "camscope", *map(str, words)], capture_output=True, text=True, timeout=PATIENCE, **more
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def raw(folder, what):
    """The one array of that kind that `camscope explain --raw` wrote."""
    (found,) = Path(folder).glob(f"*.{what}.npy")
    return np.load(found)


class Folder(unittest.TestCase):
    def setUp(self):
        self.kept = tempfile.TemporaryDirectory()
        self.addCleanup(self.kept.cleanup)
        self.folder = Path(self.kept.name)


class Heat(Folder):
    def same_as_command(self, image, options=(), target=None, **keywords):
        target_option = ["--target", target] if target else []
        command("explain", MODEL, image, *options, *target_option, "--raw", self.folder, "--ep", "cpu", "--json")
        found = camscope.Explainer(MODEL, provider="cpu", **keywords).explain(image, target)
        for what, array in [
            ("heatmap", found.heatmap),
            ("gradients", found.gradients),
            ("activations", found.activations),
            ("logits", found.logits[None]),
        ]:
            if array is not None:
                self.assertEqual(array.dtype, np.float32)
                np.testing.assert_array_equal(array, raw(self.folder, what), err_msg=what)
        return found

    def test_it_is_the_commands_bit_for_bit(self):
        found = self.same_as_command(PHOTO)
        self.assertEqual((found.target, found.label, found.class_index), ("class:285", "Egyptian cat", 285))
        self.assertEqual((found.method, found.provider, found.blank), ("gradcam", "cpu", None))
        self.assertEqual(found.gradients.shape, found.activations.shape)
        self.assertGreater(found.heatmap.max(), 0)

    def test_so_is_that_of_other_methods_targets_layers_and_signs(self):
        cases = [
            (["--method", "layercam", "--sign", "both"], "class:espresso", {"method": "layercam", "sign": "both"}),
            (["--method", "hirescam", "--layer", "40"], "contrast:285,967", {"method": "hirescam", "layer": 40}),
            (["--method", "rise:masks=32", "--seed", "3"], "class:967", {"method": "rise:masks=32", "seed": 3}),
            (["--smooth", "augment"], None, {"smooth": "augment"}),
            (
                ["--layer", "40", "--layer", "auto", "--fuse", "max"],
                "class:967",
                {"layer": [40, "auto"], "fuse": "max", "gradients": False},
            ),
        ]
        for options, target, keywords in cases:
            with self.subTest(keywords), tempfile.TemporaryDirectory() as folder:
                self.folder = Path(folder)
                if "fuse" in keywords:
                    command("explain", MODEL, PHOTO, *options, "--target", target, "--raw", folder, "--ep", "cpu")
                    found = camscope.Explainer(MODEL, provider="cpu", **keywords).explain(PHOTO, target)
                    (heat,) = [path for path in self.folder.glob("*.heatmap.npy") if "+" in path.name] or list(
                        self.folder.glob("cat_and_coffee.heatmap.npy")
                    )
                    np.testing.assert_array_equal(found.heatmap, np.load(heat))
                    self.assertIsNone(found.gradients)
                else:
                    self.same_as_command(PHOTO, options, target, **keywords)

    def test_paths_bytes_pil_images_and_arrays_of_pixels_are_one_image(self):
        photo = self.folder / "photo.png"
        Image.open(PHOTO).save(photo)
        explainer = camscope.Explainer(MODEL, provider="cpu")
        with Image.open(photo) as pil:
            pixels = np.asarray(pil)
            content = photo.read_bytes()
            given = [str(photo), content, bytearray(content), memoryview(content), pil, pixels, memoryview(pixels), np.dstack([pixels, pixels[:, :, :1]]), pil.convert("RGBA")]
            heat = explainer.explain(photo).heatmap
            for one in given:
                np.testing.assert_array_equal(explainer.explain(one).heatmap, heat)
        # Neither contiguous nor in C's order.
        turned = np.asfortranarray(np.repeat(pixels, 2, axis=1))[:, ::2]
        np.testing.assert_array_equal(explainer.explain(turned).heatmap, heat)

    def test_a_grey_array_is_a_grey_photo(self):
        grey = self.folder / "grey.png"
        Image.open(PHOTO).convert("L").save(grey)
        explainer = camscope.Explainer(MODEL, provider="cpu")
        heat = explainer.explain(grey).heatmap
        np.testing.assert_array_equal(explainer.explain(np.asarray(Image.open(grey))).heatmap, heat)

    def test_a_pil_image_is_turned_upright_and_keeps_its_levels(self):
        pil = Image.open(PHOTO)
        turned = self.folder / "turned.png"
        exif = pil.getexif()
        exif[0x0112] = 6
        pil.save(turned, exif=exif)
        deep = self.folder / "deep.png"
        Image.fromarray((np.asarray(pil.convert("L")).astype(np.uint16) * 97)).save(deep)
        explainer = camscope.Explainer(MODEL, provider="cpu")
        for path in [turned, deep]:
            heat = explainer.explain(path).heatmap
            np.testing.assert_array_equal(explainer.explain(Image.open(path)).heatmap, heat)

    def test_an_array_of_floats_is_the_models_input_as_it_is(self):
        random = np.random.default_rng(5).normal(size=(1, 3, 224, 224)).astype(np.float32)
        np.save(self.folder / "given.npy", random)
        out = self.folder / "out"
        command("explain", MODEL, "--tensor", self.folder / "given.npy", "--raw", out, "--ep", "cpu")
        explainer = camscope.Explainer(MODEL, provider="cpu")
        for given in [random, random[0], random.astype(np.float64)]:
            np.testing.assert_array_equal(explainer.explain(given).heatmap, raw(out, "heatmap"))

    def test_a_number_is_a_class(self):
        explainer = camscope.Explainer(MODEL, target=967)
        self.assertEqual(explainer.explain(PHOTO).label, "espresso")
        self.assertEqual(explainer.explain(PHOTO, 285).label, "Egyptian cat")

    def test_one_explainer_answers_other_targets_as_fresh_ones_do(self):
        explainer = camscope.Explainer(MODEL, provider="cpu")
        for target in ["class:967", "output:logits[0,285]", "not:class:967", "class:285"]:
            fresh = camscope.Explainer(MODEL, provider="cpu", target=target)
            np.testing.assert_array_equal(explainer.explain(PHOTO, target).heatmap, fresh.explain(PHOTO).heatmap)

    def test_every_mode_of_pil_images_is_taken_as_its_colours(self):
        pil = Image.open(PHOTO)
        explainer = camscope.Explainer(MODEL, provider="cpu")
        grey = explainer.explain(pil.convert("L")).heatmap
        colours = explainer.explain(np.asarray(pil)).heatmap
        self.assertGreater(np.abs(grey - colours).max(), 0.01)
        transparent = pil.convert("LA")
        for same, given in [
            (grey, [transparent, transparent.convert("La"), pil.convert("L").convert("P")]),
            (colours, [pil.convert(mode) for mode in ["RGBA", "RGBX", "CMYK", "RGBa"]]),
        ]:
            for image in given:
                with self.subTest(image.mode):
                    np.testing.assert_array_equal(explainer.explain(image).heatmap, same)
        levels = np.asarray(pil.convert("L"))
        for image in [Image.fromarray(levels.astype(np.uint16) * 257), Image.fromarray(levels.astype(np.float32) / 255)]:
            with self.subTest(image.mode):
                image.save(self.folder / "levels.tif")
                of_file = explainer.explain(self.folder / "levels.tif").heatmap
                np.testing.assert_array_equal(explainer.explain(image).heatmap, of_file)
                # Of more levels than 8 bits have: nearly the same.
                np.testing.assert_allclose(of_file, grey, atol=0.02)

    def test_arrays_are_made_once(self):
        found = camscope.Explainer(MODEL).explain(PHOTO)
        self.assertIs(found.logits, found.logits)
        gradients = camscope.Explainer(MODEL, method="saliency").explain(PHOTO)
        self.assertIsNotNone(gradients.attributions)
        self.assertIs(gradients.attributions, gradients.attributions)
        self.assertIs(found.heatmap, found.heatmap)
        self.assertIs(found.gradients, found.gradients)
        self.assertIs(found.activations, found.activations)


class Pictures(Folder):
    def test_they_are_the_commands_byte_for_byte(self):
        out = self.folder / "out"
        command("explain", MODEL, PHOTO, "-o", out, "--ep", "cpu")
        (written,) = out.iterdir()
        found = camscope.Explainer(MODEL, provider="cpu").explain(PHOTO)
        self.assertEqual(found._repr_png_(), written.read_bytes())
        np.testing.assert_array_equal(found.overlay(), np.asarray(Image.open(written)))
        found.save(self.folder / "own.png", colormap="viridis", alpha=0.7)
        own = np.asarray(Image.open(self.folder / "own.png"))
        np.testing.assert_array_equal(own, found.overlay("viridis", 0.7))
        self.assertTrue((own != found.overlay()).any())

    def test_of_an_array_there_is_the_heat_alone(self):
        found = camscope.Explainer(MODEL).explain(np.zeros((3, 224, 224), np.float32))
        self.assertEqual(found.overlay().shape, (224, 224, 3))


class Gradients(Folder):
    def test_the_model_is_the_one_that_the_command_writes(self):
        layer = camscope.layers(MODEL)[-1].name
        written = self.folder / "gradient.onnx"
        command("differentiate", MODEL, "--wrt", layer, "-o", written)
        self.assertEqual(camscope.differentiate(MODEL, [layer]), written.read_bytes())
        self.assertEqual(camscope.differentiate(MODEL.read_bytes(), layer), written.read_bytes())

    def test_it_gives_the_gradients_of_the_explanation(self):
        random = np.random.default_rng(7).normal(size=(1, 3, 224, 224)).astype(np.float32)
        layer = camscope.layers(MODEL)[-1].name
        session = onnxruntime.InferenceSession(
            camscope.differentiate(str(MODEL), wrt=[layer]), providers=["CPUExecutionProvider"]
        )
        seed = np.zeros((1, 1000), np.float32)
        seed[0, 967] = 1
        inputs = [given.name for given in session.get_inputs()]
        (seed_name,) = [name for name in inputs if name.startswith("seed.")]
        (image_name,) = [name for name in inputs if name != seed_name]
        (gradient,) = session.run([f"grad.{layer}"], {image_name: random, seed_name: seed})
        found = camscope.Explainer(MODEL, provider="cpu", layer=layer).explain(random, 967)
        self.assertGreater(np.abs(gradient).max(), 0)
        np.testing.assert_allclose(found.gradients, gradient, rtol=1e-4, atol=1e-6)


class Evaluated(Folder):
    """Each against what `camscope evaluate --json` prints."""

    def same_as_command(self, images, options=(), **keywords):
        printed = command("evaluate", MODEL, *images, *options, "--ep", "cpu", "--json")
        lines = [json.loads(line) for line in printed.splitlines()]
        found = camscope.evaluate(MODEL, images, provider="cpu", **keywords)
        self.assertEqual(found.heatmaps, [line for line in lines if "summary" not in line])
        self.assertEqual(found.summary, [line["summary"] for line in lines if "summary" in line])
        self.assertEqual(found.failed, [])
        self.assertGreater(len(found.summary), 0)
        return found

    def test_it_has_the_commands_numbers(self):
        found = self.same_as_command(
            [PHOTO],
            ["--method", "gradcam", "--method", "randomcam", "--layer", "40", "--class", "967", "--metric", "deletion"]
            + ["--metric", "complexity", "--steps", "4", "--sanity=2", "--seed", "3"],
            method=["gradcam", "randomcam"],
            layer=40,
            target=967,
            metric=["deletion", "complexity"],
            steps=4,
            sanity=2,
            seed=3,
        )
        self.assertEqual([line["target"] for line in found.heatmaps], ["class:967"] * 2)
        self.assertEqual(len(found.summary[0]["sanity"]["stages"]), 2)
        self.assertEqual(set(found.heatmaps[0]["metrics"]), {"deletion", "entropy", "gini"})

    def test_boxes_files_and_the_table_are_the_commands(self):
        boxes = self.folder / "boxes.csv"
        boxes.write_text(f"image,label,x0,y0,x1,y1\n{PHOTO.name},Egyptian cat,5,5,200,200\n")
        chosen = ["pointing", "inside"]
        words = ["--boxes", boxes, *(word for name in chosen for word in ["--metric", name])]
        for_command, own = self.folder / "command.csv", self.folder / "own.csv"
        photos = PHOTO.parent
        table = command("evaluate", MODEL, photos, *words, "--csv", for_command, "--ep", "cpu")
        found = camscope.evaluate(MODEL, str(photos), metric=chosen, boxes=boxes, csv=own, provider="cpu")
        self.assertEqual(str(found), table)
        self.assertEqual(own.read_bytes(), for_command.read_bytes())
        self.assertGreater(len(found.heatmaps), 1)

    def test_one_photo_that_cannot_be_read_is_a_warning_and_none_is_an_error(self):
        broken = self.folder / "broken.jpg"
        broken.write_text("no image")
        with self.assertWarnsRegex(camscope.Note, "broken.jpg"):
            found = camscope.evaluate(MODEL, [broken, PHOTO], metric="complexity")
        self.assertEqual(len(found.heatmaps), 1)
        self.assertIn("broken.jpg", found.failed[0])
        with self.assertRaisesRegex(camscope.Error, "broken.jpg"):
            camscope.evaluate(MODEL, broken, metric="complexity")

    def test_what_is_asked_wrongly_is_an_error(self):
        for keywords in [{"steps": 1}, {"batch": 0}, {"sanity": 0}, {"sign": "no"}, {"boxes": "a", "masks": "b"}]:
            with self.subTest(keywords), self.assertRaises(ValueError):
                camscope.evaluate(MODEL, PHOTO, **keywords)
        with self.assertRaises(ValueError):
            camscope.evaluate(MODEL, [])
        for images in [5, [5], None]:
            with self.subTest(images), self.assertRaises(TypeError):
                camscope.evaluate(MODEL, images)
        for keywords, words in [
            ({"metric": "beauty"}, ["--metric", "beauty"]),
            ({"metric": "inside"}, ["--metric", "inside"]),
            ({"sign": "both"}, ["--sign", "both"]),
            ({"target": "class:no such"}, ["--target", "class:no such"]),
        ]:
            with self.subTest(keywords):
                with self.assertRaises(camscope.Error) as raised:
                    camscope.evaluate(MODEL, PHOTO, **keywords)
                done = subprocess.run(
                    [sys.executable, "-m", "camscope", "evaluate", MODEL, PHOTO, *words],
                    capture_output=True,
                    text=True,
                    timeout=PATIENCE,
                )
                self.assertIn(f"error: {raised.exception}\n", done.stderr)

    def test_nothing_is_printed(self):
        bare = self.folder / "bare.onnx"
        bare.write_bytes(MODEL.read_bytes())
        script = f"""if True:
            import warnings, camscope
            warnings.simplefilter("ignore")
            assert camscope.evaluate({str(bare)!r}, {str(PHOTO)!r}, metric="complexity", method="randomcam").notes
            """
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=PATIENCE)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""))


class Layers(Folder):
    def test_they_are_the_commands(self):
        listed = [json.loads(line) for line in command("layers", MODEL, "--json").splitlines()]
        own = camscope.layers(MODEL)
        self.assertEqual(len(own), len(listed))
        self.assertGreater(len(own), 50)
        keys = ["index", "name", "module", "modules", "operator", "layout", "type", "default"]
        for layer, line in zip(own, listed):
            self.assertEqual({key: getattr(layer, key) for key in keys}, {key: line[key] for key in keys})
            self.assertEqual(list(layer.shape), line["shape"])
        self.assertEqual([layer.name for layer in camscope.Explainer(MODEL).layers], [layer.name for layer in own])


class Errors(Folder):
    def words_of(self, *words):
        done = subprocess.run(
            [sys.executable, "-m", "camscope", *map(str, words)], capture_output=True, text=True, timeout=PATIENCE
        )
        self.assertEqual(done.returncode, 1)
        return done.stderr

    def test_they_have_the_commands_words(self):
        nothing = self.folder / "nothing.onnx"
        (self.folder / "text.jpg").write_text("no image")
        cases = [
            (lambda: camscope.Explainer(nothing), ["explain", nothing, PHOTO]),
            (lambda: camscope.layers(nothing), ["layers", nothing]),
            (lambda: camscope.differentiate(nothing, "x"), ["differentiate", nothing, "--wrt", "x", "-o", nothing]),
            (lambda: camscope.differentiate(MODEL, "x"), ["differentiate", MODEL, "--wrt", "x", "-o", nothing]),
            (lambda: camscope.Explainer(MODEL, layer="none"), ["explain", MODEL, PHOTO, "--layer", "none"]),
            (lambda: camscope.Explainer(MODEL, method="none"), ["explain", MODEL, PHOTO, "--method", "none"]),
            (
                lambda: camscope.Explainer(MODEL).explain(PHOTO, "class:no such class"),
                ["explain", MODEL, PHOTO, "--target", "class:no such class"],
            ),
            (
                lambda: camscope.Explainer(MODEL).explain(self.folder / "text.jpg"),
                ["explain", MODEL, self.folder / "text.jpg"],
            ),
            (
                lambda: camscope.Explainer(MODEL, provider="tensorrt"),
                ["explain", MODEL, PHOTO, "--ep", "tensorrt"],
            ),
        ]
        for raising, words in cases:
            with self.subTest(words):
                with self.assertRaises(camscope.Error) as raised:
                    raising()
                printed = self.words_of(*words)
                self.assertIn(f"error: {raised.exception}\n", printed)
                if raised.exception.help is not None:
                    self.assertIn(f"help: {raised.exception.help}\n", printed)
                    self.assertEqual(raised.exception.__notes__, [f"help: {raised.exception.help}"])
                else:
                    self.assertNotIn("help:", printed)

    def test_a_word_that_is_none_is_pythons_error(self):
        for keywords in [
            {"sign": "neither"},
            {"fuse": "sum"},
            {"smooth": "twice"},
            {"crop": "middle"},
            {"layout": "nowhere"},
            {"precision": "fp8"},
            {"size": 0},
        ]:
            with self.subTest(keywords), self.assertRaises(ValueError):
                camscope.Explainer(MODEL, **keywords)
        explainer = camscope.Explainer(MODEL)
        with self.assertRaises(ValueError):
            explainer.explain(PHOTO).overlay(alpha=2)
        for wrong in [object(), None, np.array(["a"]), np.zeros((3, 224, 224), complex), PHOTO.open]:
            with self.assertRaises(TypeError):
                explainer.explain(wrong)
        for threads in [0, -1, 100000]:
            with self.subTest(threads), self.assertRaises((ValueError, OverflowError)):
                camscope.Explainer(MODEL, threads=threads)
        with self.assertRaises(TypeError):
            explainer.explain(PHOTO, True)
        for wrong in [MODEL.read_bytes(), None, 5]:
            for take in [camscope.Explainer, camscope.layers, lambda wrong: camscope.evaluate(wrong, PHOTO)]:
                with self.assertRaisesRegex(TypeError, "path of an .onnx file"):
                    take(wrong)
        with self.assertRaises(TypeError):
            explainer.explain(PHOTO, 1.5)

    def test_an_array_of_another_shape_says_which_is_expected(self):
        with self.assertRaisesRegex(camscope.Error, r"\[1, 3, 4, 4\].*takes \[1, 3, 224, 224\]"):
            camscope.Explainer(MODEL).explain(np.zeros((3, 4, 4), np.float32))

    def test_an_array_larger_than_memory_is_an_error_and_the_process_goes_on(self):
        explainer = camscope.Explainer(MODEL, provider="cpu")
        heat = explainer.explain(PHOTO).heatmap
        with self.assertRaisesRegex(camscope.Error, "takes"):
            explainer.explain(np.broadcast_to(np.float32(7), (1 << 20, 1 << 20, 3)))
        with self.assertRaises(MemoryError):
            explainer.explain(np.broadcast_to(np.uint8(7), (1 << 22, 1 << 22, 3)))
        with self.assertRaises(camscope.Error):
            explainer.explain(np.full((3, 224, 224), np.nan, np.float32))
        np.testing.assert_array_equal(explainer.explain(PHOTO).heatmap, heat)

    def test_what_cannot_be_pickled_says_what_to_do(self):
        explainer = camscope.Explainer(MODEL)
        for thing, advice in [(explainer, "in each process"), (explainer.explain(PHOTO), "its arrays")]:
            with self.assertRaisesRegex(TypeError, advice):
                pickle.dumps(thing)

    def test_several_heatmaps_are_refused(self):
        with self.assertRaisesRegex(camscope.Error, "fuse="):
            camscope.Explainer(MODEL, layer=[3, 40])

    def test_what_is_to_be_known_is_a_warning(self):
        bare = self.folder / "bare.onnx"
        bare.write_bytes(MODEL.read_bytes())
        with self.assertWarnsRegex(camscope.Note, "preprocessing assumed"):
            explainer = camscope.Explainer(bare)
        self.assertTrue(any("preprocessing assumed" in note for note in explainer.notes))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            camscope.Explainer(MODEL).explain(PHOTO)
            camscope.Explainer(bare, sidecar=MODEL.with_suffix(".toml")).explain(PHOTO)


class Threads(Folder):
    def test_two_explain_at_once(self):
        explainer = camscope.Explainer(MODEL, provider="cpu")
        photos = [PHOTO, camscope.demo() / "chelsea.jpg"]
        alone = [explainer.explain(photo).heatmap for photo in photos]
        found = [[], []]

        def explain(at):
            for _ in range(10):
                # One of them has to make another explainer on its way.
                target = "output:logits[0,3]" if at else None
                explainer.explain(photos[at], target)
                found[at].append(explainer.explain(photos[at]).heatmap)

        threads = [threading.Thread(target=explain, args=(at,)) for at in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
            self.assertFalse(thread.is_alive())
        for at in range(2):
            self.assertEqual(len(found[at]), 10)
            for heat in found[at]:
                np.testing.assert_array_equal(heat, alone[at])

    def test_processes_that_are_spawned_have_explainers_of_their_own(self):
        (self.folder / "work.py").write_text(
            f"""if True:
            import multiprocessing
            import camscope

            def explain(target):
                return camscope.Explainer({str(MODEL)!r}, provider="cpu").explain({str(PHOTO)!r}, target).heatmap

            if __name__ == "__main__":
                with multiprocessing.get_context("spawn").Pool(2) as pool:
                    for heat, target in zip(pool.map(explain, [285, 967]), [285, 967]):
                        assert (heat == explain(target)).all() and heat.max() > 0
            """
        )
        done = subprocess.run(
            [sys.executable, "work.py"], cwd=self.folder, capture_output=True, text=True, timeout=PATIENCE
        )
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_others_go_on_while_a_model_runs(self):
        explainer = camscope.Explainer(MODEL, method="rise:masks=64")
        done = threading.Event()
        turns = 0

        def explain():
            explainer.explain(PHOTO)
            done.set()

        thread = threading.Thread(target=explain)
        thread.start()
        while not done.wait(0.001):
            turns += 1
        thread.join()
        self.assertGreater(turns, 1)

    def interrupted(self, *words):
        """Starts Python, sends Ctrl-C once it has printed a line, and returns how it ended and what it said."""
        child = subprocess.Popen(
            [sys.executable, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        self.addCleanup(child.kill)
        self.assertEqual(child.stdout.readline(), "begun\n")
        child.send_signal(signal.SIGINT)
        _, said = child.communicate(timeout=PATIENCE)
        return child.returncode, said

    def test_ctrl_c_ends_a_long_call(self):
        script = f"""if True:
            import camscope
            explainer = camscope.Explainer({str(MODEL)!r}, method="rise:masks=1000000")
            print("begun", flush=True)
            try:
                explainer.explain({str(PHOTO)!r})
            except KeyboardInterrupt:
                # Ended, and good for more.
                assert camscope.Explainer({str(MODEL)!r}).explain({str(PHOTO)!r}).heatmap.max() > 0
                raise SystemExit(7)
            """
        status, said = self.interrupted("-c", script)
        self.assertEqual(status, 7, said)

    def test_ctrl_c_ends_an_evaluation_and_stays_pythons(self):
        script = f"""if True:
            import camscope, signal
            before = signal.getsignal(signal.SIGINT)
            try:
                print("begun", flush=True)
                camscope.evaluate({str(MODEL)!r}, {str(PHOTO)!r}, metric="deletion", steps=60000)
            except KeyboardInterrupt:
                # As it was, and it works: the process would end otherwise.
                assert signal.getsignal(signal.SIGINT) is before
                try:
                    signal.raise_signal(signal.SIGINT)
                except KeyboardInterrupt:
                    raise SystemExit(7)
            """
        status, said = self.interrupted("-c", script)
        self.assertEqual(status, 7, said)

    def test_ctrl_c_ends_the_command(self):
        script = f"""if True:
            from camscope._camscope import main
            print("begun", flush=True)
            main(["camscope", "explain", {str(MODEL)!r}, {str(PHOTO)!r}, "--method", "rise:masks=1000000"])
            """
        status, said = self.interrupted("-c", script)
        self.assertEqual(status, -signal.SIGINT, said)


class Command(Folder):
    def test_it_takes_this_interpreters_onnxruntime_and_tries_it_in_a_process_of_its_own(self):
        home = self.folder / "home"
        home.mkdir()
        variables = {"HOME": str(home), "PATH": os.environ["PATH"]}
        shown = json.loads(command("runtime", "show", "--json", env=variables))
        self.assertEqual(Path(shown["library"]).parent, Path(onnxruntime.__file__).parent / "capi")
        # What isn't known yet is tried by a child, whose end this one survives.
        wrong = self.folder / "libonnxruntime.so"
        wrong.write_text("no library")
        done = subprocess.run(
            [sys.executable, "-m", "camscope", "explain", MODEL, PHOTO],
            env={**variables, "ORT_DYLIB_PATH": str(wrong)},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        self.assertEqual(done.returncode, 1)
        self.assertIn("named by ORT_DYLIB_PATH", done.stderr)

    def test_it_starts_itself(self):
        # Each part of it is measured in a process of its own.
        measured = json.loads(command("bench", MODEL, PHOTO, "--ep", "cpu", "--json", "--rounds", "1"))
        self.assertGreater(measured["memory_ratio"], 0)

    def test_statuses_are_the_programs(self):
        for words, status in [(["--version"], 0), (["explain"], 2), (["layers", "none.onnx"], 1)]:
            done = subprocess.run([sys.executable, "-m", "camscope", *words], capture_output=True, timeout=PATIENCE)
            self.assertEqual(done.returncode, status, done.stderr)

    def test_the_current_folder_has_no_say(self):
        (self.folder / "onnxruntime" / "capi").mkdir(parents=True)
        (self.folder / "onnxruntime" / "capi" / "libonnxruntime.so").write_text("no library")
        (self.folder / "json.py").write_text("raise SystemExit('taken')")
        script = Path(sys.executable).with_name("camscope")
        if not script.exists():
            self.skipTest("the command is not installed beside this interpreter")
        done = subprocess.run(
            [script, "runtime", "show", "--json"], cwd=self.folder, capture_output=True, text=True, timeout=PATIENCE
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertNotIn(str(self.folder), json.loads(done.stdout)["library"])

    def test_the_explorer_opens_in_a_terminal_and_gives_it_back(self):
        words = [sys.executable, "-m", "camscope", MODEL, PHOTO, "--graphics", "none"]
        child, terminal = pty.fork()
        if child == 0:
            # Of 40 lines of 120 characters.
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
            os.execve(sys.executable, list(map(str, words)), {**os.environ, "TERM": "xterm-256color"})
        self.addCleanup(os.close, terminal)
        seen = b""
        asked = False
        while True:
            ready, _, _ = select.select([terminal], [], [], PATIENCE)
            self.assertTrue(ready, seen)
            try:
                more = os.read(terminal, 65536)
            except OSError:
                break
            if not more:
                break
            seen += more
            if not asked and b"Egyptian" in seen:
                os.write(terminal, b"q")
                asked = True
        _, status = os.waitpid(child, 0)
        self.assertTrue(asked, seen)
        self.assertEqual(os.waitstatus_to_exitcode(status), 0)
        # Into the other screen, and back.
        self.assertLess(seen.index(b"\x1b[?1049h"), seen.rindex(b"\x1b[?1049l"))


class Documentation(unittest.TestCase):
    def test_everything_has_a_docstring(self):
        for name in camscope.__all__:
            if name == "__version__":
                continue
            thing = getattr(camscope, name)
            self.assertTrue(thing.__doc__, name)
            for own in vars(thing) if isinstance(thing, type) and not issubclass(thing, Exception) else []:
                if not own.startswith("_"):
                    self.assertTrue(getattr(thing, own).__doc__, f"{name}.{own}")

    def test_numpy_is_not_imported_before_it_is_needed(self):
        script = "import sys, camscope; sys.exit(any(name in sys.modules for name in ['numpy', 'onnxruntime', 'PIL']))"
        self.assertEqual(subprocess.run([sys.executable, "-c", script], timeout=PATIENCE).returncode, 0)


if __name__ == "__main__":
    unittest.main()
