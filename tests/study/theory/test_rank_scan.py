"""C31: the recorded scan of ReLU ranks: the bound, the wrong count, and samples repeated."""

from shooting.study.theory import rank_scan as r


def test_the_scan_is_large_and_varied():
    found = r.stored()
    assert len(found) == r.ENSEMBLES
    assert all(f.rank is not None for f in found)
    larger = [f for f in found if any(m > f.dim * (f.inflation + 1) for m, _ in f.groups)]
    dead = [f for f in found if any(m > 1 and not live for m, live in f.groups)]
    mixed = [f for f in found if len({live for _, live in f.groups}) > 1]
    assert min(len(larger), len(dead), len(mixed)) > 20
    assert {f.biases for f in found} == {True, False}


def test_no_rank_exceeds_the_bound_and_all_but_one_attain_it():
    found = r.stored()
    assert all(f.rank <= f.bound for f in found)
    assert sum(f.rank < f.bound for f in found) <= 1
    # control: the count of mixings is exceeded, and missed from below, many times
    assert sum(f.rank > f.mixings for f in found) > 20
    assert sum(f.rank < f.mixings for f in found) > 20


def test_the_one_below_attains_it_with_half_the_step():
    """A unit stops firing within the last step, which the solver hardly sees."""
    (below,) = [f for f in r.stored() if f.rank < f.bound]
    finer = r.examine(below.seed, steps=2 * r.STEPS)
    assert finer.rank == finer.bound == below.bound


def test_findings_are_repeated():
    kept = {f.seed: f for f in r.stored()}
    for seed in list(kept)[:5]:
        again = r.examine(seed)
        assert (again.rank, again.bound, again.groups) == (
            kept[seed].rank,
            kept[seed].bound,
            kept[seed].groups,
        )
