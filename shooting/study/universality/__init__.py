"""The universality constructions of Appendix D, built so that each can be measured.

In the order of the chapter:

* `networks`, `pieces`: shallow networks; controls given piece by piece, their energy and timing.
* `embeddings`: Lemmas 5 and 6, moving networks as UpDown flows.
* `targets`, `bounds`, `approximation`: Proposition 7 for any field, with its bound.
* `counterexamples`: what breaks without each hypothesis.
* `frozen`, `chattering`, `rectified`, `amplified`: functions in one line, and inflation factor 1.
* `transfer`: universality of shooting. `training`, `limits`: what optimisation finds, and why.
"""
