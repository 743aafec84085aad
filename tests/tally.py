# SPDX-License-Identifier: MIT
"""Adds up JUnit reports (arguments): lists why tests were skipped and what failed,
and ends with "N passed, N failed, N skipped".

A report that is missing or cannot be read counts as a failure, so that a test
runner that died is not a success. Ends with status 1 if anything failed or
nothing ran.
"""
import collections
import pathlib
import sys
import xml.etree.ElementTree


def first_line(element):
    lines = (element.get("message") or element.text or "").strip().splitlines()
    line = lines[0] if lines else "no reason given"
    return line if len(line) <= 160 else line[:157] + "..."


def main(paths):
    passed, failed, skipped = 0, [], collections.Counter()
    for path in paths:
        try:
            cases = list(xml.etree.ElementTree.parse(path).iter("testcase"))
        except (OSError, xml.etree.ElementTree.ParseError) as error:
            failed.append(f"{path}: {error}")
            continue
        for case in cases:
            outcome = {child.tag: child for child in case}
            wrong = outcome.get("failure", outcome.get("error"))
            if wrong is not None:
                name = f"{case.get('classname')} {case.get('name')}"
                failed.append(f"{pathlib.Path(path).stem}: {name}: {first_line(wrong)}")
            elif "skipped" in outcome:
                skipped[first_line(outcome["skipped"])] += 1
            else:
                passed += 1
    for reason, times in skipped.most_common():
        print(f"skipped {times}: {reason}")
    for line in failed:
        print(f"failed {line}")
    print(f"{passed} passed, {len(failed)} failed, {skipped.total()} skipped")
    return 0 if passed and not failed else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
