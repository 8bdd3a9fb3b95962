#!/usr/bin/env python3
"""Whether the time of a refusal tells if a name is there: asks a door for names that exist and for names that do not, where
the token allows neither, and says how well a watcher could tell them apart.

    bench/refusal_times.py http://door.example.org:8080 --there /other/file --absent /other/none --token-file TOKEN

Requests of both kinds come in random order over one connection, so that what else the machine does hits both alike. For each
question: the medians, and the chance that of two answers, one of each kind, the slower one is the one of the name that exists
(0.500: nothing is told; beside it what chance alone would do, two standard errors). Ends with 1 where it is more than that by
half, or where the answers differ in anything but the path and the date. Needs nothing but Python.
"""

import argparse
import http.client
import random
import statistics
import sys
import time
import urllib.parse
from pathlib import Path

# "to" and "if": the name is not what is asked for, but where something goes, or what a condition speaks of.
QUESTIONS = (
    "GET", "HEAD", "PUT", "DELETE", "MKCOL", "PROPFIND", "PROPPATCH", "LOCK", "COPY", "MOVE", "COPY to", "MOVE to", "DELETE if",
)


def request(question, name, own):
    """Method, path and headers."""
    method, _, role = question.partition(" ")
    if role == "to":
        return method, own, {"Destination": name}
    if role == "if":
        return method, own + "/none", {"If": f'<{name}> (Not ["0"])'}
    headers = {"Destination": own + "/copy"} if method in ("COPY", "MOVE") else {}
    return method, name, headers | ({"Content-Length": "0"} if method == "PUT" else {})


def ask(connection, question, name, own, credentials):
    """Seconds, and the answer as one text without what may differ."""
    method, path, headers = request(question, name, own)
    start = time.perf_counter()
    connection.request(method, path, headers=headers | credentials)
    answer = connection.getresponse()
    body = answer.read().decode()
    seconds = time.perf_counter() - start
    head = sorted((name.lower(), value) for name, value in answer.getheaders() if name.lower() != "date")
    return seconds, f"{answer.status} {answer.reason} {head} {body}".replace(name, "NAME")


def slower_share(there, absent):
    """Of all pairs, the share in which the name that exists took longer (Mann and Whitney's U), ties counted half."""
    ranked = sorted([(seconds, True) for seconds in there] + [(seconds, False) for seconds in absent])
    rank_sum, index = 0.0, 0
    while index < len(ranked):
        end = index
        while end < len(ranked) and ranked[end][0] == ranked[index][0]:
            end += 1
        rank_sum += (index + 1 + end) / 2 * sum(of_there for _, of_there in ranked[index:end])
        index = end
    return (rank_sum - len(there) * (len(there) + 1) / 2) / (len(there) * len(absent))


def measure(url, question, options, credentials):
    connection = http.client.HTTPConnection(url.hostname, url.port or 80, timeout=30)
    times, answers = {True: [], False: []}, {True: set(), False: set()}
    order = [True, False] * options.requests
    random.shuffle(order)
    for number, is_there in enumerate([True, False] * 100 + order):
        seconds, answer = ask(connection, question, options.there if is_there else options.absent, options.own, credentials)
        answers[is_there].add(answer)
        # The first ones warm everything up.
        if number >= 200:
            times[is_there].append(seconds)
    connection.close()
    return times, answers


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("door", help="its URL, plain http")
    parser.add_argument("--there", required=True, help="path of a file that the token may not see")
    parser.add_argument("--absent", required=True, help="path beside it, of the same length, where nothing is")
    parser.add_argument("--token-file", type=Path, help="(no token)")
    parser.add_argument("--own", default="/", help="a directory of the token's own (/)")
    parser.add_argument("--requests", type=int, default=5000, help="of each kind, for each question (5000)")
    options = parser.parse_args()
    if len(options.there) != len(options.absent):
        parser.error("paths of different lengths differ by themselves")
    credentials = {}
    if options.token_file:
        credentials["Authorization"] = f"Bearer {options.token_file.read_text().strip()}"
    url = urllib.parse.urlsplit(options.door)
    # Of U over all pairs, if both kinds are alike.
    error = 2 * (1 / (6 * options.requests)) ** 0.5
    told = False
    print(f"| question | answer | there, µs | absent, µs | slower (chance: 0.500 ± {error:.3f}) |\n| --- | --- | --- | --- | --- |")
    for question in QUESTIONS:
        times, answers = measure(url, question, options, credentials)
        same = len(answers[True] | answers[False]) == 1
        share = slower_share(times[True], times[False])
        medians = [statistics.median(times[kind]) * 1e6 for kind in (True, False)]
        status = " ".join(sorted({answer.split()[0] for answer in answers[True] | answers[False]}))
        print(
            f"| {question} | {status}{'' if same else ', NOT THE SAME'} "
            f"| {medians[0]:.1f} | {medians[1]:.1f} | {share:.3f} |", flush=True,
        )
        told |= not same or abs(share - 0.5) > 1.5 * error
    sys.exit(1 if told else 0)


if __name__ == "__main__":
    main()
