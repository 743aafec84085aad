# SPDX-License-Identifier: MIT
"""The one error that mlog-plot tells its user about: a sentence, and exit status 1."""


class PlotError(Exception):
    """Something outside of mlog-plot is not as it must be; str() is one clear line."""


class AnalyzerFailed(PlotError):
    """The analyser has said on standard error what is wrong: nothing is to be added."""

    def __init__(self, message: str, wrong_usage: bool = False):
        super().__init__(message)
        self.wrong_usage = wrong_usage      # of options that are the analyser's
