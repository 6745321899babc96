"""Optimizers: chains with names of their own, such as Adam."""

from gradmill.optimizers._adadelta import adadelta as adadelta
from gradmill.optimizers._adafactor import adafactor as adafactor
from gradmill.optimizers._adagrad import adagrad as adagrad
from gradmill.optimizers._adam import adam as adam
from gradmill.optimizers._adam import adamw as adamw
from gradmill.optimizers._adamax import adamax as adamax
from gradmill.optimizers._adamax import adamaxw as adamaxw
from gradmill.optimizers._adan import adan as adan
from gradmill.optimizers._amsgrad import amsgrad as amsgrad
from gradmill.optimizers._belief import adabelief as adabelief
from gradmill.optimizers._fromage import fromage as fromage
from gradmill.optimizers._lars import lamb as lamb
from gradmill.optimizers._lars import lars as lars
from gradmill.optimizers._lbfgs import lbfgs as lbfgs
from gradmill.optimizers._lion import lion as lion
from gradmill.optimizers._nadam import nadam as nadam
from gradmill.optimizers._nadam import nadamw as nadamw
from gradmill.optimizers._novograd import novograd as novograd
from gradmill.optimizers._optimistic import optimistic_adam as optimistic_adam
from gradmill.optimizers._optimistic import optimistic_adam_v2 as optimistic_adam_v2
from gradmill.optimizers._optimistic import (
    optimistic_gradient_descent as optimistic_gradient_descent,
)
from gradmill.optimizers._polyak import polyak_sgd as polyak_sgd
from gradmill.optimizers._radam import radam as radam
from gradmill.optimizers._rmsprop import rmsprop as rmsprop
from gradmill.optimizers._rprop import rprop as rprop
from gradmill.optimizers._sgd import noisy_sgd as noisy_sgd
from gradmill.optimizers._sgd import sgd as sgd
from gradmill.optimizers._sign import sign_sgd as sign_sgd
from gradmill.optimizers._sign import signum as signum
from gradmill.optimizers._sm3 import sm3 as sm3
from gradmill.optimizers._yogi import yogi as yogi

__all__ = [name for name in dir() if not name.startswith("_")]
