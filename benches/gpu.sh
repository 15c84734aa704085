#!/usr/bin/env bash
# Measures camscope on a GPU that may lie on a machine without network.
#
#   benches/gpu.sh pack FOLDER [--cuda] [--models NAME,…]   here: the programs, ONNX Runtime, WebGPU's plugin, models; with --cuda that provider, too
#   benches/gpu.sh run FOLDER [--ep webgpu,cuda] [--batches 1,8,64] [--models NAME,…] [--rounds N]   there; writes FOLDER/results.jsonl
#
# `pack` needs cargo, pip or npm, and for the models Python with what benches/make_models.py needs (PYTHON names it). `run` needs the
# repository, and for pytorch-grad-cam's side Python with torch, torchvision and grad-cam. What is missing is skipped, and said. The
# results have a line of JSON for each measurement: `what` is `gradients` (tests/providers, one network), `camscope` (the report of
# `camscope bench --json`) or `pytorch-grad-cam` (milliseconds of GradCAM and of the forward pass, medians, an image). The CUDA provider is
# large: pack it into the same folder later, and run with --ep cuda on the machine that has the rest.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$here")
python=${PYTHON:-python3}

say() { printf '%s\n' "$*" >&2; }
usage() { sed -n '3,12s/^# \{0,1\}//p' "$0" >&2; exit 2; }

[ $# -ge 2 ] || usage
action=$1
mkdir -p "$2"
folder=$(cd "$2" && pwd)
shift 2
cuda=no eps=webgpu,cuda batches=1,8,64 models=mobilenet_v2,resnet50,vit_b_16 rounds=
while [ $# -gt 0 ]; do
    case $1 in
    --cuda) cuda=yes; shift; continue ;;
    --ep | --batches | --models | --rounds) [ $# -ge 2 ] || usage ;;
    *) usage ;;
    esac
    case $1 in
    --ep) eps=$2 ;;
    --batches) batches=$2 ;;
    --models) models=$2 ;;
    --rounds) rounds=$2 ;;
    esac
    shift 2
done
# A home of its own: what `camscope runtime install` fetches, and what is remembered.
export XDG_DATA_HOME=$folder/data XDG_CACHE_HOME=$folder/cache XDG_CONFIG_HOME=$folder/config
unset ORT_DYLIB_PATH
# Where there is no GPU, the script can be tried on one in software. `camscope` allows that by itself.
export ORT_WEBGPU_EP_ALLOW_SOFTWARE_ADAPTER=${ORT_WEBGPU_EP_ALLOW_SOFTWARE_ADAPTER:-1}

pack() {
    mkdir -p "$folder/bin" "$folder/models"
    # PROFILE=debug takes programs that are built already, to try the script.
    if [ "${PROFILE:-release}" = release ]; then
        cargo build --quiet --locked --release --manifest-path "$root/Cargo.toml" --package camscope --bin camscope
        cargo build --quiet --locked --release --manifest-path "$root/Cargo.toml" --package camscope-tests --bin provider-gradients
    fi
    cp "$root/target/${PROFILE:-release}/camscope" "$root/target/${PROFILE:-release}/provider-gradients" "$folder/bin/"
    # Where the second looks for its networks.
    printf '%s\n' "$root" >"$folder/root"
    "$folder/bin/camscope" runtime install
    "$folder/bin/camscope" runtime install --ep webgpu
    if [ $cuda = yes ]; then "$folder/bin/camscope" runtime install --ep cuda; fi
    # shellcheck disable=SC2046 # names without blanks
    "$python" "$here/make_models.py" "$folder/models" $(printf '%s' "$models" | tr , ' ') || say "skipped: the models cannot be written"
}

# A line of the results: `what`, and a JSON object.
result() { printf '{"what": "%s", %s\n' "$1" "${2#\{}" >>"$folder/results.jsonl"; }

gradients() {
    local packed
    packed=$(cat "$folder/root")
    if [ ! -e "$packed" ]; then mkdir -p "$(dirname "$packed")" && ln -s "$root" "$packed"; fi
    local files
    files=$(sed -n '/^FILES = """/,/^"""/p' "$root/tests/providers/run.py" | grep onnx)
    # shellcheck disable=SC2086 # names without blanks
    timeout 300 "$folder/bin/provider-gradients" "$1" - ${GRADIENTS:-$files} | while IFS= read -r line; do
        result gradients "{\"provider\": \"$1\", ${line#\{}"
    done || say "skipped: gradients on $1, those that are not in the results"
}

bench() {
    local report
    # shellcheck disable=SC2086 # an option, or none
    if report=$("$folder/bin/camscope" bench "$folder/models/$2.onnx" --ep "$1" --batch "$3" ${rounds:+--rounds $rounds} --json); then
        result camscope "$report"
    else
        say "skipped: $2 on $1, batches of $3"
    fi
}

grad_cam() {
    "$python" - "$folder/models" "$models" "$batches" "${rounds:-15}" <<'PYTHON' >>"$folder/results.jsonl" || say "skipped: pytorch-grad-cam"
import json, pathlib, statistics, sys, time
import torch, torchvision
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

folder, names, batches, rounds = sys.argv[1:]
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
tokens = lambda x: x[:, 1:, :].reshape(x.size(0), 14, 14, x.size(2)).permute(0, 3, 1, 2)
LAYERS = {
    "mobilenet_v2": (lambda model: model.features[-1], None),
    "resnet50": (lambda model: model.layer4[-1], None),
    "vit_b_16": (lambda model: model.encoder.layers[-1].ln_1, tokens),
}

def wait():
    if device.type == "cuda":
        torch.cuda.synchronize()

def median(run):
    times = []
    for at in range(int(rounds) + 2):
        wait()
        begun = time.perf_counter()
        run()
        wait()
        times.append(1e3 * (time.perf_counter() - begun))
    return statistics.median(times[2:])

for name in names.split(","):
    if name not in LAYERS:
        print(f"skipped: pytorch-grad-cam, {name}: no layer is known for it", file=sys.stderr)
        continue
    model = torchvision.models.get_model(name, weights=None)
    weights = pathlib.Path(folder, f"{name}.pt")
    if weights.is_file():
        model.load_state_dict(torch.load(weights, weights_only=True))
    model = model.eval().to(device)
    layer, reshape = LAYERS[name]
    cam = GradCAM(model=model, target_layers=[layer(model)], reshape_transform=reshape)
    for batch in map(int, batches.split(",")):
        images = torch.randn(batch, 3, 224, 224, device=device)
        targets = [ClassifierOutputTarget(5)] * batch
        explain = median(lambda: cam(input_tensor=images, targets=targets))
        with torch.no_grad():
            forward = median(lambda: model(images))
        print(json.dumps({"what": "pytorch-grad-cam", "model": name, "batch": batch, "device": str(device), "torch": torch.__version__,
                          "explain_ms": explain / batch, "forward_ms": forward / batch}), flush=True)
PYTHON
}

run() {
    [ -x "$folder/bin/camscope" ] || { say "$folder has no programs: benches/gpu.sh pack $folder"; exit 1; }
    "$folder/bin/camscope" runtime show >&2
    local ep name batch
    for ep in ${eps//,/ }; do
        # Whether the provider works here at all, in camscope's words.
        if ! "$folder/bin/camscope" explain "$root/models/efficientnet-lite0.onnx" "$root/samples/cat_and_coffee.jpg" --ep "$ep" --json >/dev/null; then
            say "skipped: $ep"
            continue
        fi
        gradients "$ep"
        for name in ${models//,/ }; do
            [ -f "$folder/models/$name.onnx" ] || { say "skipped: $name was not packed"; continue; }
            for batch in ${batches//,/ }; do bench "$ep" "$name" "$batch"; done
        done
    done
    grad_cam
    say "results: $folder/results.jsonl"
}

case $action in
pack) pack ;;
run) run ;;
*) usage ;;
esac
