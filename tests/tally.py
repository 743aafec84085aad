# SPDX-License-Identifier: MIT
"""Adds up JUnit reports (arguments) and prints "N passed, N failed, N skipped".

A report that is missing or cannot be read counts as a failure, so that a test
runner that died is not a success. Ends with status 1 if anything failed or
nothing ran.
"""
import sys
import xml.etree.ElementTree


def main(paths):
    passed = failed = skipped = 0
    for path in paths:
        try:
            cases = list(xml.etree.ElementTree.parse(path).iter("testcase"))
        except (OSError, xml.etree.ElementTree.ParseError) as error:
            print(f"{path}: {error}")
            failed += 1
            continue
        for case in cases:
            kinds = {child.tag for child in case}
            if kinds & {"failure", "error"}:
                failed += 1
            elif "skipped" in kinds:
                skipped += 1
            else:
                passed += 1
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 0 if passed and not failed else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
