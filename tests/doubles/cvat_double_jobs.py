"""The routes of jobs and of annotations, of jobs and of tasks."""

from __future__ import annotations

import cvat_double_annotations as annotations
from cvat_double_routes import Answer, Call, forbidden
from cvat_double_tasks import TaskRoutes
from cvat_double_things import Job, Rejected, Task

STAGES = ("annotation", "validation", "acceptance")
STATES = ("new", "in progress", "completed", "rejected")
NO_DATA = "Exporting annotations from a task without data is not allowed"


class JobRoutes(TaskRoutes):
    """All routes of the server."""

    def __init__(self, *how) -> None:
        super().__init__(*how)
        self.add("/api/jobs", GET=self.jobs)
        self.add("/api/jobs/N", GET=self.job, PATCH=self.patch_job)
        self.add("/api/jobs/N/data/meta", GET=self.job_meta, PATCH=self.patch_job_meta)
        for kind in ("tasks", "jobs"):
            self.add(
                f"/api/{kind}/N/annotations",
                GET=self.annotations,
                PUT=self.put_annotations,
                PATCH=self.patch_annotations,
            )

    def find_job(self, call: Call, number: int) -> Job:
        job = self.state.jobs.get(number)
        if job is None:
            raise self.not_found("Job")
        if not (self.may_see(call, job.task) or job.assignee is call.user):
            raise forbidden()
        return job

    def jobs(self, call: Call) -> Answer:
        if "task_id" in call.query:
            task = self.state.tasks.get(int(call.query["task_id"]))
            if task is not None:
                self.state.poll(task)
        visible = {task.id for task in self.listed(call, self.state.tasks.values())}
        jobs = [
            job
            for job in self.state.jobs.values()
            if job.task.id in visible or (job.assignee is call.user and self._is_at_home(call, job))
        ]
        shown = [self.show.job(job) for job in sorted(jobs, key=lambda job: -job.id)]
        exact = ("id", "task_id", "project_id", "state", "stage", "assignee")
        return self.page(call, self.filtered(call, shown, exact))

    def _is_at_home(self, call: Call, job: Job) -> bool:
        return call.organization is None or call.organization.id == job.task.organization

    def job(self, call: Call, number: int) -> Answer:
        return Answer(json=self.show.job(self.find_job(call, number)))

    def patch_job(self, call: Call, number: int) -> Answer:
        job, body = self.find_job(call, number), call.body
        wrong = {
            key: [f'"{body[key]}" is not a valid choice.']
            for key, choices in (("stage", STAGES), ("state", STATES))
            if key in body and body[key] not in choices
        }
        if wrong:
            raise Rejected(wrong)
        assignee = self.user_by_id(body["assignee"]) if "assignee" in body else job.assignee
        stage = body.get("stage", job.stage)
        # A new stage starts anew unless the call says otherwise.
        job.state = body.get("state", job.state if stage == job.stage else "new")
        job.stage, job.assignee = stage, assignee
        self.state.touch(job)
        return self.job(call, number)

    def job_meta(self, call: Call, number: int) -> Answer:
        job = self.find_job(call, number)
        return Answer(json=self.show.data_meta(job.task, job.frames))

    def patch_job_meta(self, call: Call, number: int) -> Answer:
        job = self.find_job(call, number)
        if "deleted_frames" in call.body:
            job.task.remove_frames(job.frames, call.body["deleted_frames"])
        return self.job_meta(call, number)

    # annotations

    def _annotated(self, call: Call, number: int) -> tuple[Task, list[Job]]:
        if call.path.startswith("/api/jobs"):
            job = self.find_job(call, number)
            return job.task, [job]
        task = self.find_task(call, number)
        if not task.is_ready:
            raise Rejected(NO_DATA)
        return task, task.jobs

    def annotations(self, call: Call, number: int) -> Answer:
        return Answer(json=annotations.shown(*self._annotated(call, number)))

    def put_annotations(self, call: Call, number: int) -> Answer:
        task, jobs = self._annotated(call, number)
        return Answer(json=annotations.replace(self.state, task, jobs, call.body))

    def patch_annotations(self, call: Call, number: int) -> Answer:
        task, jobs = self._annotated(call, number)
        actions = {
            "create": annotations.create,
            "update": annotations.update,
            "delete": annotations.remove,
        }
        action = actions.get(call.query.get("action", ""))
        if action is None:
            raise Rejected(["Please specify a correct 'action' for the request"])
        return Answer(json=action(self.state, task, jobs, call.body))
