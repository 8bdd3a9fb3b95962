"""What is measured: processor time, memory and wall time of one run, and the tables made of many."""
import os
import statistics
import subprocess
import time

MIB, GIB = 1 << 20, 1 << 30


def tree(pids):
    """The processes and their children."""
    found, todo = [], list(pids)
    while todo:
        pid = todo.pop()
        found.append(pid)
        try:
            for task in os.listdir(f"/proc/{pid}/task"):
                todo += map(int, open(f"/proc/{pid}/task/{task}/children").read().split())
        except OSError:
            pass
    return found


def thread_times(pids):
    """Nanoseconds that each thread has run so far. `stat` would count in hundredths of a second, too coarse for a run
    that takes eight of them."""
    times = {}
    for pid in tree(pids):
        try:
            for task in os.listdir(f"/proc/{pid}/task"):
                times[task] = int(open(f"/proc/{pid}/task/{task}/schedstat").read().split()[0])
        except OSError:
            pass
    return times


def seconds_between(before, after):
    """Processor time from one look to the next. Of a thread that ended meanwhile, the last bit is lost."""
    return sum(time - before.get(thread, 0) for thread, time in after.items()) / 1e9


def resident_mib(pids):
    """Proportional set size: pages that processes share are counted once."""
    total = 0
    for pid in tree(pids):
        try:
            for line in open(f"/proc/{pid}/smaps_rollup"):
                if line.startswith("Pss:"):
                    total += int(line.split()[1])
        except OSError:
            pass
    return total / 1024


def timed(server, commands, sync_after=False):
    """Runs commands at once. Wall seconds, and processor seconds of the server."""
    before, began = thread_times(server.pids()), time.monotonic()
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) for command in commands]
    said = [process.communicate()[0].decode(errors="replace") for process in running]
    if sync_after:
        os.sync()
    wall = time.monotonic() - began
    used = seconds_between(before, thread_times(server.pids()))
    for process, text in zip(running, said):
        if process.returncode != 0:
            raise RuntimeError(f"{server.name}: a client ended with {process.returncode}: {text.strip()[-300:]}")
    return wall, used, said


class Table:
    """Rows of one table: each server's figures side by side, and Penstock's ratio to the best peer."""

    def __init__(self, title, *columns):
        self.columns = columns
        print(f"\n### {title}\n\n| case | server | {' | '.join(name for name, *_ in columns)} |")
        print("| --- " * (2 + len(columns)) + "|", flush=True)

    def row(self, case, servers, runs, once):
        """`once(server)` gives one figure a column. Asks the servers in turn. The ratio is Penstock's to the best of the
        others; where Penstock is there a second time as `unverified`, that is a peer only when it is the only one."""
        of = "penstock"
        results = {server.name: [] for server in servers}
        for run in range(-1, runs):
            for server in servers:
                figures = once(server)
                if run >= 0:
                    results[server.name].append(figures)
        medians = {}
        for name, figures in results.items():
            columns = list(zip(*figures))
            medians[name] = [statistics.median(column) for column in columns]
            cells = [self.cell(column, digits) for column, (_, digits, _) in zip(columns, self.columns)]
            print(f"| {case} | {name} | {' | '.join(cells)} |")
        others = [name for name in medians if name != of]
        peers = [medians[name] for name in others if name != "unverified" or others == ["unverified"]]
        if of in medians and peers:
            ratios = []
            for position, (_, _, better) in enumerate(self.columns):
                best = better(figures[position] for figures in peers)
                ratios.append(f"**{medians[of][position] / best:.2f}**" if best else "–")
            against = "unverified" if others == ["unverified"] else "best peer"
            print(f"| {case} | {of} : {against} | {' | '.join(ratios)} |", flush=True)
        return medians

    @staticmethod
    def cell(values, digits):
        return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f}–{max(values):.{digits}f})"


SPEED = ("MiB/s", 0, max)
COST = ("server CPU s/GiB", 3, min)
