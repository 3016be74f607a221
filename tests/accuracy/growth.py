"""Draws the memory of this service and of its peer over many requests, and compares all answers to the same clip."""

import threading
from collections import defaultdict

import pygal
from pygal.style import CleanStyle

from sides import memory, transcribe
from speech import ROOT, file_of

PLOT = ROOT / "docs/figures/whisper-memory.svg"

# The memory is looked at before the first request, and each time after this many.
STEP = 20


def own(process):
    """Private memory of the supervisor alone, in MiB."""
    return process.memory_full_info().uss / (1 << 20)


class Course:
    """What one side answered, and how its memory went."""

    def __init__(self, side):
        self.side, self.answers = side, defaultdict(set)
        self.at, self.all, self.first = [], [], []

    def look(self, count):
        self.at.append(count)
        self.all.append(memory(self.side.process))
        self.first.append(own(self.side.process))

    def run(self, prompts, band, requests):
        self.look(0)
        for count in range(1, requests + 1):
            prompt = prompts[count % len(prompts)]
            text, _ = transcribe(self.side.path, file_of(prompt, band).read_bytes(), prompt.language)
            self.answers[prompt.name].add(text)
            if count % STEP == 0:
                self.look(count)

    def differing(self):
        """Clips that did not always get the same text."""
        return sorted(name for name, texts in self.answers.items() if len(texts) > 1)


def compare(ours, peer, prompts, band, requests):
    courses = [Course(ours), Course(peer)]
    threads = [threading.Thread(target=course.run, args=(prompts, band, requests)) for course in courses]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for course in courses:
        name = course.side.name
        answered = course.at[-1] == requests
        print(f"{name}: {course.at[-1]} requests{'' if answered else ' and then it failed'}")
        print(f"  all processes {course.all[0]:.0f} → {course.all[-1]:.0f} MiB, at most {max(course.all):.0f}")
        # The first requests fill caches and free lists.
        settled = course.first[min(len(course.first) - 1, 5)]
        print(f"  first process, private: {course.first[0]:.2f}, {settled:.2f} after {STEP * 5}, {course.first[-1]:.2f} MiB")
        print(f"  clips that did not always get the same text: {', '.join(course.differing()) or 'none'}", flush=True)
    draw(courses)


def draw(courses):
    # No script, which would come from elsewhere.
    chart = pygal.XY(style=CleanStyle, js=[], show_dots=False, legend_at_bottom=True, width=900, height=500)
    chart.title = "Whisper: memory over requests, one after the other"
    chart.x_title, chart.y_title, chart.range = "requests", "MiB", (0, max(map(max, (course.all for course in courses))))
    for course in courses:
        chart.add(f"{course.side.name}, all processes", list(zip(course.at, course.all)))
    chart.add("supervisor alone, private", list(zip(courses[0].at, courses[0].first)))
    chart.render_to_file(str(PLOT))
    print(f"{PLOT.relative_to(ROOT)} is written")
