"""For those who test against Qaqpa: fakes, synthetic people, stand-ins of third parties, the contract of an adapter.

It ships in the wheel and is never imported by the product, but for `qaqpa demo` and `qaqpa sandbox`.
"""
