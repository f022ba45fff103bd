"""nbgrader on this course: solutions/ is the source, exercises/ the release, everything about students stays in grading/ (git-ignored)."""

import os
import sys

c = get_config()  # noqa: F821  (nbgrader provides it)

if "autograde" in sys.argv:
    os.environ["QT_PROGRESS"] = "none"  # grading is nobody's progress

c.CourseDirectory.source_directory = "solutions"
c.CourseDirectory.release_directory = "exercises"
c.CourseDirectory.submitted_directory = "grading/submitted"
c.CourseDirectory.autograded_directory = "grading/autograded"
c.CourseDirectory.feedback_directory = "grading/feedback"
c.CourseDirectory.solution_directory = "grading/solutions"
c.CourseDirectory.db_url = "sqlite:///grading/gradebook.db"
# checks.py holds the reference and the known mistakes: never released. key.json holds numbers and hints only.
c.CourseDirectory.ignore = [".ipynb_checkpoints", "*.pyc", "__pycache__", "checks.py"]
# A graded cell that a student deleted comes back and is graded, instead of waiting for a hand for ever.
c.OverwriteCells.add_missing_cells = True
c.ExecutePreprocessor.timeout = 120
# Hidden cases, drawn by the same rules as the visible ones: QT_HIDDEN_SEED=<your secret number> nbgrader autograde <chapter>
