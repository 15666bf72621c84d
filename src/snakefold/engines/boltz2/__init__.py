"""Engine boltz2."""
from __future__ import annotations
from pathlib import Path
from snakefold.engines.boltz2.settings import Boltz2Settings
from snakefold.engines.spec import Defaults, Environment
class Boltz2(Defaults):
    name = "boltz2"
    title = "Boltz-2"
    Settings = Boltz2Settings
    packages = ("boltz-community", "torch", "rdkit")
    environment = Environment("3.11", Path(__file__).with_name("environment.lock"), Path(__file__).with_name("environment-cpu.lock"), "https://download.pytorch.org/whl/cpu")
    version="2.13.0"
    def work(self,*a,**k): ...
    def recipe(self,*a,**k): ...
    def describe(self,*a,**k): ...
    def start(self,*a,**k): ...
ENGINE = Boltz2()
