"""Makes model.onnx: a thin detector with the module paths of the YOLO family, as PyTorch exports it. Its outputs are, for each class,
the highest score anywhere, so that it can be explained like a classifier.

Needs: pip install torch onnx
"""

import torch
from torch import nn


def conv(i, o, stride=1):
    return nn.Sequential(nn.Conv2d(i, o, 3, stride, 1), nn.SiLU())


class Block(nn.Module):
    def __init__(self, i, o, stride=1):
        super().__init__()
        self.cv1 = conv(i, o, stride)
        self.cv2 = conv(o, o)

    def forward(self, x):
        return self.cv2(self.cv1(x))


class Detect(nn.Module):
    def __init__(self, channels, classes):
        super().__init__()
        self.cv2 = nn.ModuleList(nn.Sequential(conv(c, 8), nn.Conv2d(8, 4, 1)) for c in channels)
        self.cv3 = nn.ModuleList(nn.Sequential(conv(c, 8), nn.Conv2d(8, classes, 1)) for c in channels)

    def forward(self, scales):
        rows = []
        for x, box, score in zip(scales, self.cv2, self.cv3):
            # A box's size weighs its score a little, so that both branches count.
            rows.append((score(x) + 0.1 * box(x).mean(1, keepdim=True)).flatten(2))
        return torch.cat(rows, 2).amax(2)


class Detector(nn.Module):
    def __init__(self, classes=6):
        super().__init__()
        self.model = nn.ModuleList(
            [
                Block(3, 8, 4),  # 0: backbone
                Block(8, 12, 2),  # 1
                Block(12, 16, 2),  # 2
                nn.Upsample(scale_factor=2.0),  # 3: neck, up
                Block(28, 12),  # 4
                nn.Upsample(scale_factor=2.0),  # 5
                Block(20, 8),  # 6: finest
                conv(8, 8, 2),  # 7: neck, down
                Block(20, 12),  # 8: middle
                conv(12, 12, 2),  # 9
                Block(28, 16),  # 10: coarsest
                Detect((8, 12, 16), classes),  # 11: head
            ]
        )

    def forward(self, x):
        m = self.model
        fine = m[0](x)
        middle = m[1](fine)
        coarse = m[2](middle)
        up = m[4](torch.cat((m[3](coarse), middle), 1))
        a = m[6](torch.cat((m[5](up), fine), 1))
        b = m[8](torch.cat((m[7](a), up), 1))
        c = m[10](torch.cat((m[9](b), coarse), 1))
        return m[11]((a, b, c))


torch.manual_seed(3)
batch = {"images": {0: "N"}, "scores": {0: "N"}}
torch.onnx.export(
    Detector().eval(), torch.rand(1, 3, 64, 64), "model.onnx", dynamo=False, opset_version=18,
    input_names=["images"], output_names=["scores"], dynamic_axes=batch,
)
