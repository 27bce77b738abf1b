"""The autoencoder of the images, above all its convolutions in bfloat16."""

from __future__ import annotations

import pytest
import torch

from shooting.study.experiments import autoencoder
from shooting.study.experiments.autoencoder import Autoencoder, has_bfloat16

LATENT, CHANNELS = 5, 3
ROUNDING = 2.0**-8  # of bfloat16, relative


def build(precision="float32"):
    return Autoencoder(LATENT, filters=4, channels=CHANNELS, seed=1, precision=precision)


@pytest.fixture
def images():
    return torch.rand(6, CHANNELS, 28, 28, generator=torch.Generator().manual_seed(0))


def away(found, known):
    return ((found - known).norm() / known.norm()).item()


def through(model, images):
    latents = model.encode(images)
    return latents, model.decode(latents)


@pytest.mark.parametrize("training", [True, False])
def test_default_is_every_layer_as_it_is_to_the_bit(images, training):
    model, again = build().train(training), build().train(training)
    latents, drawn = through(model, images)
    plain = again.encoder(images)
    assert torch.equal(latents, plain)
    assert torch.equal(drawn, again.decoder(plain).reshape(-1, 28, 28))
    for name, value in model.state_dict().items():  # statistics of BatchNorm too
        assert torch.equal(value, again.state_dict()[name])


def test_bfloat16_is_near_and_comes_back_as_float32(images):
    (codes, drawn), (plain, known) = through(build("bfloat16"), images), through(build(), images)
    assert codes.dtype == drawn.dtype == torch.float32
    # three and four layers, each of which rounds its input, weights and output
    assert 0 < away(codes, plain) < 10 * ROUNDING
    assert 0 < away(drawn, known) < 10 * ROUNDING
    broken = build("bfloat16")  # control: a wrong bias is further away than rounding
    with torch.no_grad():
        broken.decoder[-2].bias += 0.5
    assert away(through(broken, images)[1], known) > 10 * ROUNDING


def test_gradients_and_statistics_are_float32_and_near(images):
    found = {}
    for precision in ("float32", "bfloat16"):
        model = build(precision)
        through(model, images)[1].square().mean().backward()
        found[precision] = {k: w.grad for k, w in model.named_parameters()}
        assert {v.dtype for v in model.state_dict().values() if v.is_floating_point()} == {
            torch.float32
        }
    for name, known in found["float32"].items():
        grad = found["bfloat16"][name]
        assert grad.dtype == torch.float32
        if "bias" in name and float(known.norm()) < 1e-6:
            continue  # BatchNorm takes away whatever such a bias adds: zero but for rounding
        # backwards again seven layers, and differences of larger numbers
        assert away(grad, known) < 50 * ROUNDING, name


def test_evaluation_is_in_float32(images):
    fast, plain = build("bfloat16"), build()
    assert not torch.equal(through(fast, images)[1], through(plain, images)[1])  # training differs
    plain.load_state_dict(fast.state_dict())
    for found, known in zip(through(fast.eval(), images), through(plain.eval(), images)):
        assert torch.equal(found, known)


def test_only_convolutions_and_what_is_between_them_see_autocast(images):
    model, seen = build("bfloat16"), {}
    for name, layer in model.named_modules():
        layer.register_forward_hook(
            lambda m, i, o, name=name: seen.update({name: torch.is_autocast_enabled("cpu")})
        )
    through(model, images)
    linear = [k for k, m in model.named_modules() if isinstance(m, torch.nn.Linear)]
    assert len(linear) == 2
    assert not any(seen[name] for name in linear)
    assert seen["encoder.0"]
    assert not torch.is_autocast_enabled("cpu")


def test_float64_stays_float64(images):
    model = build("bfloat16").double()
    assert {t.dtype for t in through(model, images.double())} == {torch.float64}


# --- the processor -------------------------------------------------------------------------


@pytest.fixture
def processor(tmp_path, monkeypatch):
    """Pretend that the processor has the flags given."""

    def pretend(flags):
        info = tmp_path / "cpuinfo"
        if flags is not None:
            info.write_text(f"model name : any\nflags : fpu {flags} sse\n", encoding="utf-8")
        monkeypatch.setattr(autoencoder, "CPU_INFO", info)
        autoencoder._say_if_slow.cache_clear()

    yield pretend
    autoencoder._say_if_slow.cache_clear()


@pytest.mark.parametrize(
    ("flags", "has"),
    [("avx512_bf16", True), ("amx_bf16 x", True), ("bf16", True), ("avx2", False), (None, True)],
)
def test_processors_are_told_apart(processor, flags, has):
    processor(flags)
    assert has_bfloat16() is has


def test_a_processor_without_bfloat16_takes_the_same_route_and_says_so_once(
    processor, images, caplog
):
    processor("avx512_bf16")
    known = through(build("bfloat16"), images)
    assert not caplog.records
    processor("avx2")
    through(build(), images)
    assert not caplog.records  # float32 has nothing to say
    found = [through(build("bfloat16"), images) for _ in range(2)][1]
    assert [r.levelname for r in caplog.records] == ["WARNING"]
    assert "does not multiply bfloat16" in caplog.text
    assert all(torch.equal(a, b) for a, b in zip(found, known))


@pytest.mark.parametrize("sizes", [{"latent": 0}, {"latent": 3, "filters": 0}], ids=str)
def test_nothing_to_encode_into_is_refused(sizes):
    with pytest.raises(ValueError, match="whole number of at least 1, got 0"):
        Autoencoder(**sizes)


def test_unknown_precision_is_refused():
    with pytest.raises(ValueError, match=r"expected a precision among .*, got 'half'; try"):
        build("half")
