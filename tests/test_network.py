"""Machines find each other, whatever they call themselves."""

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch.distributed as dist

from cmvl.launch import network
from cmvl.launch.network import NAMED, choose_interface, tell_address

HERE = Path(__file__).parent
LOOPBACK = network._interface_to("127.0.0.1")


@pytest.fixture
def store(monkeypatch):
    monkeypatch.delenv(NAMED, raising=False)
    yield dist.HashStore()
    os.environ.pop(NAMED, None)


def test_the_interface_on_the_way_to_the_meeting_point(store, monkeypatch):
    """Of two addresses that lead here, the one that another machine saw counts."""
    monkeypatch.setattr(network, "_is_loopback", lambda address: address == "127.0.1.1")
    hosts = {"node0": ["127.0.1.1"], "head": ["127.0.1.1", "127.0.0.1"]}
    monkeypatch.setattr(network, "_addresses", hosts.get)
    tell_address(store, "node0")
    choose_interface(store)
    assert NAMED not in os.environ  # nobody saw another
    tell_address(store, "head")
    choose_interface(store)
    assert os.environ[NAMED] == LOOPBACK


def test_what_the_user_names_stays(store, monkeypatch):
    monkeypatch.setenv(NAMED, "ib0")
    store.set(network.OUTSIDE, "127.0.0.1")
    choose_interface(store)
    assert os.environ[NAMED] == "ib0"


@pytest.mark.parametrize(
    ("address", "interfaces"), [("255.255.255.255", [(1, LOOPBACK)]), ("127.0.0.1", [])]
)
def test_what_linux_does_not_tell_is_left_to_gloo(store, address, interfaces, monkeypatch):
    """No way to the address, or an interface that has others."""
    monkeypatch.setattr(socket, "if_nameindex", lambda: interfaces)
    store.set(network.OUTSIDE, address)
    choose_interface(store)
    assert NAMED not in os.environ


def test_an_address_of_ipv6_has_an_interface_too(tmp_path, monkeypatch):
    rows = ["fd00" + "0" * 27 + "2 03 40 00 80     eth1", "0" * 31 + "1 01 80 10 80       lo"]
    (tmp_path / "if_inet6").write_text("\n".join(rows))
    monkeypatch.setattr(network, "ADDRESSES_V6", tmp_path / "if_inet6")
    found = [network._interface_of_v6(own) for own in ("fd00::2", "::1", "fe80::1%eth1")]
    assert found == ["eth1", "lo", ""]


def test_a_name_without_an_address_tells_nothing(store):
    tell_address(store, "no-such-host.invalid")
    assert not store.check([network.OUTSIDE])


# Two machines with a wire between them. Each calls itself node0 or node1 and, as Debian's and
# Ubuntu's do, knows that name as 127.0.1.1; the other's it knows rightly.
MACHINES = """
set -e
mount -t tmpfs none /run
ip netns add m0; ip netns add m1
ip link add e0 netns m0 type veth peer name e1 netns m1
for m in 0 1; do
    printf "127.0.0.1 localhost\\n127.0.1.1 node%s\\n$4%s node%s\\n" \
        $m $((2 - m)) $((1 - m)) > $1/hosts$m
    ip -n m$m addr add $4$((m + 1))/24 dev e$m nodad
    ip -n m$m link set e$m up; ip -n m$m link set lo up
done
[ "$2" ] || exit 0
for m in 0 1; do
    ip netns exec m$m unshare --uts bash -c "
        hostname node$m; mount --bind $1/hosts$m /etc/hosts; exec $2 $m" > $1/said$m 2>&1 &
    machines="$machines $!"
done
if [ "$3" ]; then
    until grep -q "$3" $1/said0; do sleep 0.1; done
    ip -n m1 link set e1 down
fi
for machine in $machines; do wait $machine || true; done
"""


def on_two_machines(folder, command="", cut="", net="10.9.0."):
    """What each said; None where such machines cannot be made.

    `cut`: the wire between them is, once machine 0 has said this.
    """
    if not (shutil.which("unshare") and shutil.which("ip")):
        return None
    words = ["unshare", "--map-root-user", "--net", "--mount", "--uts", "bash", "-c", MACHINES]
    environment = os.environ | {"PYTHONPATH": f"{HERE.parent}:{HERE}"}
    words += ["-", str(folder), command, cut, net]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=120)
    if done.returncode:
        return None
    return [(folder / f"said{m}").read_text() for m in (0, 1)] if command else []


SCRIPT = """
import sys
import crew_jobs
from cmvl.launch import Crew, launch, machines
from cmvl.utils.errors import run_tool
if sys.argv[1] == "count_for_ever":
    machines.SILENT = 4
    machines.SEE_OFF = 0.5  # nobody comes who could be seen off
crew = Crew(2, False, 2, int(sys.argv[2]), "tcp://node0:29500", meeting=60)
if __name__ == "__main__":
    run_tool(lambda: launch(getattr(crew_jobs, sys.argv[1]), [], crew))
"""


@pytest.fixture
def machines(tmp_path):
    if on_two_machines(tmp_path) is None:
        pytest.skip("needs Linux's namespaces, unshare and ip")
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    return lambda job, **how: on_two_machines(tmp_path, f"{sys.executable} {script} {job}", **how)


@pytest.mark.parametrize("net", ["10.9.0.", "fd00::"])
def test_two_machines_that_call_themselves_127_0_1_1(machines, net):
    first, second = machines("count", net=net)
    assert first.endswith("4 processes, the sum of their ranks is 6\n"), first + second
    assert second.endswith("rank 2 on node1: all 4 processes are here; rank 0 has the log\n")


def test_a_network_that_is_gone(machines):
    """Then nothing comes, no error either, and who waits for an answer waits for ever."""
    first, second = machines("count_for_ever", cut="here")
    assert "\nerror: machine 1, node1, has given no sign of life for 4 s" in first, first
    assert "\nerror: machine 0, which listened at node0:29500, is gone" in second, second
