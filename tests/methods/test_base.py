import pytest
from torch import nn

from ssl_dml.methods import CPC, NPID, PIRL, BankMethod, Method, MoCo


def test_methods_with_a_bank_are_those_that_can_be_probed_in_it():
    assert issubclass(NPID, BankMethod)
    assert issubclass(PIRL, BankMethod)
    assert not issubclass(MoCo, BankMethod)
    assert issubclass(CPC, Method)


def test_a_method_must_have_a_step():
    class Half(Method):
        backbone = nn.Identity()

    with pytest.raises(TypeError, match="abstract method"):
        Half()
