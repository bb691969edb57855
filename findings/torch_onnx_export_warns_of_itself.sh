#!/bin/sh
# torch 2.13.0 with onnxscript 0.7.2: torch.onnx.export copies tree specifications in a way that torch itself deprecates, so each
# export shows a FutureWarning about `isinstance(treespec, LeafSpec)`, and fails where warnings are errors, as in tests. It also
# logs that torchvision is not installed, four times, for models that use none of it.
# Our export silences both. This script fails if the behaviour changes.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6 onnx==1.23.2 onnxscript==0.7.2
cat > "$folder/export.py" <<'PYTHON'
import torch

program = torch.onnx.export(torch.nn.Linear(2, 3).eval(), (torch.rand(4, 2),), dynamo=True, verbose=False)
print(len(program.model_proto.SerializeToString()), "bytes")
PYTHON
"$folder/venv/bin/python" "$folder/export.py" 2> "$folder/log"
warnings=$(grep -c "FutureWarning: .isinstance(treespec, LeafSpec)" "$folder/log" || true)
lines=$(grep -c "torchvision is not installed" "$folder/log" || true)
echo "by default: $warnings warnings of torch about torch, $lines lines about torchvision"
if "$folder/venv/bin/python" -W error::FutureWarning "$folder/export.py" 2> /dev/null; then
    echo "changed: the export succeeds where warnings are errors" >&2
    exit 1
fi
test "$warnings" -ge 1 && test "$lines" -ge 1
echo "as seen"
