"""Every model of the CIFAR-100 benchmark of RepDistiller (Tian et al., 2020), against what its code gives."""

import hashlib
import re

import pytest
import torch
from oracles import fill, h

from ignite_kd import models

# With 100 classes: trainable numbers, multiply-accumulates, entries of the state dict without and with batch counters,
# the first 16 hexadecimal digits of the sha256 of names and shapes in order, the channels and sizes of the features.
INVENTORY = """
resnet8     |    83,892 |    12,507,392 |  47+9  | 1c12d9c24a827581 | 16×32 16×32 32×16 64×8 64
resnet14    |   181,108 |    26,663,168 |  77+15 | c0872a7e374f8aaf | 16×32 16×32 32×16 64×8 64
resnet20    |   278,324 |    40,818,944 | 107+21 | a4e36707ea6f2a4e | 16×32 16×32 32×16 64×8 64
resnet32    |   472,756 |    69,130,496 | 167+33 | 03386176401af232 | 16×32 16×32 32×16 64×8 64
resnet44    |   667,188 |    97,442,048 | 227+45 | 00b590b57816531e | 16×32 16×32 32×16 64×8 64
resnet56    |   861,620 |   125,753,600 | 287+57 | 4ced6f47043b9646 | 16×32 16×32 32×16 64×8 64
resnet110   | 1,736,564 |   253,155,584 | 557+111| 2881f193442f8b30 | 16×32 16×32 32×16 64×8 64
resnet8x4   | 1,233,540 |   177,071,104 |  52+10 | 39944848d9544292 | 32×32 64×32 128×16 256×8 256
resnet32x4  | 7,433,860 | 1,083,040,768 | 172+34 | b0c0edd25a83814b | 32×32 64×32 128×16 256×8 256
ResNet50    |23,705,252 | 1,298,014,208 | 267+53 | 156e29a8f5de34b5 | 64×32 256×32 512×16 1024×8 2048×4 2048
wrn_16_1    |   180,916 |    26,663,168 |  69+13 | 45eebafc0c2e219b | 16×32 16×32 32×16 64×8 64
wrn_16_2    |   703,284 |   101,118,464 |  70+13 | 3ee85888d73ba42a | 16×32 32×32 64×16 128×8 128
wrn_40_1    |   569,780 |    83,286,272 | 189+37 | d62ec3f89d87e430 | 16×32 16×32 32×16 64×8 64
wrn_40_2    | 2,255,156 |   327,610,880 | 190+37 | 48fa15855c4d9143 | 16×32 32×32 64×16 128×8 128
vgg8        | 3,965,028 |    96,192,512 |  32+5  | 67745a6b038095e4 | 64×32 128×16 256×8 512×4 512×4 512
vgg11       | 9,277,284 |   209,438,720 |  50+8  | dfcd29bd9cbf6228 | 64×32 128×16 256×8 512×4 512×4 512
vgg13       | 9,462,180 |   284,936,192 |  62+10 | ef2052a9afa24379 | 64×32 128×16 256×8 512×4 512×4 512
vgg16       |14,774,436 |   398,182,400 |  80+13 | 7486cb476da4d3b5 | 64×32 128×16 256×8 512×4 512×4 512
vgg19       |20,086,692 |   511,428,608 |  98+16 | eefbfa38c9b65530 | 64×32 128×16 256×8 512×4 512×4 512
MobileNetV2 |   812,836 |     6,523,648 | 267+53 | 361112c72f311c21 | 16×16 12×16 16×8 48×4 160×2 1280
ShuffleV1   |   949,258 |    38,691,456 | 247+49 | 5c633e3f07d32761 | 24×32 240×16 480×8 960×4 960
ShuffleV2   | 1,355,528 |    44,504,448 | 282+56 | 3a1faacc24ac1ccd | 24×32 116×16 232×8 464×4 1024
"""
# In float64, in evaluation mode, on h((2, 3, 32, 32), 5), filled from 7: the sum of all logits; the first three of the
# first image; the norm of all; the norms of stem, layer1, …, pooled; of layer1, … before rectification.
OUTPUTS = """
resnet8|28.989049|-0.55085049, -1.1536349, 1.4190113|26.217704
    |119.3771, 205.29473, 231.73819, 162.45514, 17.254479|225.26993, 297.73204, 271.19933
resnet14|12.100575|-1.4551948, 1.0474916, -1.218936|25.045791
    |119.3771, 283.58899, 170.87367, 160.19348, 16.484383|342.43512, 183.35925, 171.58867
resnet20|-140.21082|-0.2890857, -1.1222248, 2.8242419|103.28068
    |119.3771, 315.30172, 428.83554, 689.24958, 74.972194|376.10771, 456.16801, 750.45211
resnet32|682.69224|22.656508, -15.06359, -24.368194|270.18301
    |119.3771, 346.96823, 515.27404, 1563.1244, 166.04925|444.23811, 541.54807, 1691.8186
resnet44|751.8344|28.191122, 37.938565, 334.38506|2357.6071
    |119.3771, 503.39972, 3030.6151, 13090.319, 1414.0238|544.06947, 3243.7134, 14165.969
resnet56|47982.124|-3705.7813, 2612.294, -356.91429|40594.346
    |119.3771, 1271.7752, 18217.214, 241810.33, 26237.91|1332.4925, 18570.01, 252274.82
resnet110|46264910|15842500, -9751783.5, -29139038|1.8218286e+08
    |119.3771, 11826.892, 2605275.5, 1.1124463e+09, 1.2176629e+08|11967.95, 2819940.6, 1.2090021e+09
resnet8x4|-8.9353678|1.0106837, -0.9161164, 0.010995495|20.442568
    |170.36366, 322.16044, 279.01536, 254.27889, 26.449691|455.07475, 402.63751, 352.86349
resnet32x4|-1621.6169|79.777546, -45.041297, -57.140035|1796.6721
    |170.36366, 1022.3859, 4476.5878, 21146.548, 2350.2336|1108.9376, 5094.1818, 22738.539
ResNet50|526.31402|-33.541907, 20.962348, 23.315172|1055.7982
    |236.61257, 833.98452, 1884.9405, 9438.4894, 15054.905, 3389.4737|923.0991, 2053.9026, 10299.9, 16384.687
wrn_16_1|-78.103194|-1.5645998, -0.8363616, -1.8105865|24.994984
    |150.80361, 315.41939, 314.14685, 210.75609, 15.540534|334.28031, 321.36865, 227.33477
wrn_16_2|-25.313456|-3.0001218, -6.4899413, 3.2302226|33.476251
    |150.80361, 445.91879, 446.53973, 423.96329, 29.361563|476.03125, 461.34955, 455.04318
wrn_40_1|338.85335|9.9079117, -11.738707, -11.436863|203.83003
    |150.80361, 761.93914, 705.1009, 1690.7228, 133.63685|797.57833, 773.89246, 1803.546
wrn_40_2|-8.9534711|15.690748, -29.667229, 33.337454|543.50765
    |150.80361, 815.69504, 1756.9691, 7236.2812, 503.8091|907.8538, 1795.3064, 7670.5523
vgg8|-36.161787|-0.69234919, -1.2148337, -1.5924592|15.655283
    |240.18684, 289.93404, 258.70939, 180.14405, 151.25201, 30.659863|394.56063, 354.44443, 271.76098, 215.28999
vgg11|1.7520706|1.1330216, -1.055053, -0.36655442|10.443502
    |240.18684, 289.93404, 213.63712, 134.89314, 94.076949, 18.372021|394.56063, 333.31166, 186.65219, 132.46671
vgg13|-4.5536575|-0.64694556, -0.35564935, 0.094413623|8.156965
    |213.94985, 210.83186, 178.93318, 122.58953, 83.449984, 16.32735|308.16166, 240.62422, 174.42104, 117.21094
vgg16|-1.1499372|0.049866333, 0.21281514, 0.094916474|4.6819195
    |213.94985, 210.83186, 175.35073, 91.90284, 52.273333, 10.133673|308.16166, 243.15375, 127.03382, 71.856053
vgg19|-4.3935277|0.089188301, -0.33940448, -0.0037989108|3.6066426
    |213.94985, 210.83186, 170.19577, 70.940425, 37.197126, 7.336021|308.16166, 235.07891, 99.379392, 53.65634
MobileNetV2|126.29732|0.86940495, -41.352333, 12.839271|321.34325
    |58.890084, 91.710691, 95.782734, 607.19995, 770.1501, 817.00478|91.710691, 95.782734, 607.19995, 770.1501
ShuffleV1|-22.281818|-9.7510724, -12.798424, -13.421405|241.24023
    |135.02898, 481.49494, 1814.058, 2650.1438, 577.41258|538.43291, 1910.4673, 2839.2965
ShuffleV2|32.24463|-0.94527851, 2.2980714, 2.0150908|32.727089
    |135.02898, 281.50948, 399.92975, 331.99733, 89.218638|338.79805, 556.1231, 399.67752
"""


def rows(table):
    lines = [re.split(r"\s*\|\s*", line) for line in table.replace("\n    |", "|").strip().splitlines()]
    return [pytest.param(*cells, id=cells[0]) for cells in lines]


def numbers(cell):
    return [float(number) for number in cell.split(",")]


def norms(tensors):
    return [t.norm().item() for t in tensors]


@pytest.mark.parametrize(("name", "trainable", "products", "entries", "digest", "shapes"), rows(INVENTORY))
def test_parameters_names_work_and_features_are_those_of_the_benchmark(
    name, trainable, products, entries, digest, shapes
):
    with torch.device("meta"):
        model = models.build(name, num_classes=100).eval()
        seen = model.represent(torch.empty(1, 3, 32, 32))
    state = {key: t for key, t in model.state_dict().items() if not key.endswith("num_batches_tracked")}
    counters = len(model.state_dict()) - len(state)
    lines = [f"{key} {'x'.join(map(str, t.shape))}" for key, t in state.items()]
    if name.startswith("wrn"):  # the package has the released names of VID
        lines = [re.sub(r"^layer(\d)", r"block\1", s).replace("conv_shortcut", "convShortcut") for s in lines]
    assert models.parameters(model) == int(trainable.replace(",", ""))
    assert models.macs(model) == int(products.replace(",", ""))
    assert f"{len(state)}+{counters}" == entries
    assert hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16] == digest
    given = [f"{t.shape[1]}×{t.shape[2]}" for t in seen.features.values()] + [str(seen.pooled.shape[1])]
    assert " ".join(given) == shapes
    assert all(t.shape[2] == t.shape[3] for t in seen.features.values())
    assert all(t.shape == seen.features[stage].shape for stage, t in seen.before_relu.items())


@pytest.mark.parametrize(("name", "total", "first", "norm", "after", "before"), rows(OUTPUTS))
@torch.no_grad()
def test_outputs_are_those_of_the_benchmark(name, total, first, norm, after, before):
    with torch.device("meta"):
        model = models.build(name, num_classes=100)
    seen = fill(model.to_empty(device="cpu"), 7).eval().represent(h((2, 3, 32, 32), 5))
    norm = float(norm)
    assert seen.logits.shape == (2, 100)
    # logits and their sum cancel: their error is measured by what is added
    assert seen.logits[0, :3].tolist() == pytest.approx(numbers(first), rel=1e-7, abs=1e-9 * norm)
    assert seen.logits.sum().item() == pytest.approx(float(total), rel=1e-7, abs=1e-8 * norm)
    assert seen.logits.norm().item() == pytest.approx(norm, rel=1e-7)
    assert norms([*seen.features.values(), seen.pooled]) == pytest.approx(numbers(after), rel=1e-7)
    assert norms(seen.before_relu.values()) == pytest.approx(numbers(before), rel=1e-7)
    assert list(seen.before_relu) == [stage for stage in seen.features if stage != "stem"]


@pytest.mark.parametrize("name", [row.values[0] for row in rows(INVENTORY)])
def test_training_reaches_every_parameter(name):
    torch.manual_seed(0)
    model = models.build(name, num_classes=100).train()
    images = h((2, 3, 32, 32), 5).float()
    torch.nn.functional.cross_entropy(model(images), torch.tensor([3, 4])).backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), key
        # the bias of a convolution before a batch norm has no effect; its gradient is rounding alone
        assert parameter.grad.any(), key
