#!/usr/bin/env python3
"""verdict.py REPORT EXPECTED: ginkgo's report in libtest's words. EXPECTED has a line `PATTERN: REASON` for specs that are not
passed yet: those are skipped, and one of them that passes is a failure."""
import json, re, sys

report, expected = sys.argv[1:]
reasons = []
with open(expected) as lines:
    for line in lines:
        if line.strip() and not line.startswith("#"):
            pattern, _, reason = line.strip().partition(": ")
            reasons.append((re.compile(pattern), reason))
passed = failed = 0
with open(report) as file:
    suites = json.load(file)
for spec in (spec for suite in suites for spec in suite["SpecReports"] or []):
    name = " ".join([*(spec["ContainerHierarchyTexts"] or []), spec["LeafNodeText"]]).replace("[k8s.io] ", "")
    state, failure = spec["State"], spec.get("Failure") or {}
    message = " ".join(failure.get("Message", "").split())[:600]
    if "benchmark" in name.lower() or spec["LeafNodeType"] != "It" and state in ("passed", "skipped"):
        continue
    if state in ("skipped", "pending") and not message:
        continue  # by SKIP or FOCUS
    if spec.get("NumAttempts", 1) > 1:
        # As conformance's: some expect a busy machine to keep their time.
        print(f"{name}: {state} at attempt {spec['NumAttempts']}")
    test = re.sub(r"\W+", "_", name).strip("_")
    reason = next((reason for pattern, reason in reasons if pattern.search(name)), None)
    if state == "passed" and reason is None:
        verdict, passed = "ok", passed + 1
    elif state == "passed" and not reason.startswith("depends:"):
        verdict, failed = "FAILED: it passes: take it off expected", failed + 1
    elif state == "passed":
        verdict, passed = "ok", passed + 1
    elif reason is not None:
        verdict, passed = f"SKIP {test}: {reason}", passed + 1
    else:
        verdict, failed = f"FAILED: {state}: {message}", failed + 1
    print(f"test {test} ... {verdict}")
if passed + failed == 0:
    failed = 1
    print("no spec ran")
print(f"test result: {'FAILED' if failed else 'ok'}. {passed} passed; {failed} failed; 0 ignored")
sys.exit(1 if failed else 0)
