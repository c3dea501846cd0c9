"""The routes of projects, labels and guides."""

from __future__ import annotations

from dataclasses import asdict

from cvat_double_accounts import AccountRoutes
from cvat_double_checks import check_named, check_new_names
from cvat_double_routes import Answer, Call, forbidden, server_error
from cvat_double_things import Guide, Project, Rejected, Task


class ProjectRoutes(AccountRoutes):
    """Projects and what tasks share with them."""

    def __init__(self, *how) -> None:
        super().__init__(*how)
        self.add("/api/projects", GET=self.projects, POST=self.create_project)
        self.add(
            "/api/projects/N",
            GET=self.project,
            PATCH=self.patch_project,
            DELETE=self.delete_project,
        )
        self.add("/api/labels", GET=self.labels)
        self.add("/api/labels/N", DELETE=self.delete_label)
        self.add("/api/guides", POST=self.create_guide)
        self.add("/api/guides/N", GET=self.guide, PATCH=self.patch_guide)

    def find_project(self, call: Call, number: int) -> Project:
        project = self.state.projects.get(number)
        if project is None:
            raise self.not_found("Project")
        if not self.may_see(call, project):
            raise forbidden()
        return project

    def projects(self, call: Call) -> Answer:
        found = self.listed(call, sorted(self.state.projects.values(), key=lambda p: -p.id))
        shown = [self.show.project(project) for project in found]
        return self.page(call, self.filtered(call, shown, ("id", "name")))

    def project(self, call: Call, number: int) -> Answer:
        return Answer(json=self.show.project(self.find_project(call, number)))

    def create_project(self, call: Call) -> Answer:
        check_named(call.body)
        now = self.state.clock.now()
        project = Project(self.state.next_id("project"), call.body["name"], call.user, now, now)
        project.bug_tracker = call.body.get("bug_tracker", "")
        project.organization = call.organization.id if call.organization else None
        self.state.projects[project.id] = project
        project.labels = [self.state.make_label(each) for each in call.body.get("labels", ())]
        shown = self.show.project(project)
        return Answer(201, shown, headers=[("location", shown["url"])])

    def patch_project(self, call: Call, number: int) -> Answer:
        project = self.find_project(call, number)
        check_named(call.body, partial=True)
        check_new_names(project.labels, call.body.get("labels", []))
        self.state.change_labels(project, call.body.get("labels", []))
        project.name = call.body.get("name", project.name)
        project.bug_tracker = call.body.get("bug_tracker", project.bug_tracker)
        if "assignee_id" in call.body:
            project.assignee = self.user_by_id(call.body["assignee_id"])
        self.state.touch(project)
        return self.project(call, number)

    def delete_project(self, call: Call, number: int) -> Answer:
        self.state.delete_project(self.find_project(call, number).id)
        return Answer(204)

    # labels

    def labels(self, call: Call) -> Answer:
        query = call.query
        if "task_id" in query:
            owners = [t for t in self.state.tasks.values() if str(t.id) == query["task_id"]]
            if not owners and self.has("what is gone is named"):
                raise server_error()
            self.refuse_worker(call, *owners)
        elif "job_id" in query:
            owners = [j.task for j in self.state.jobs.values() if str(j.id) == query["job_id"]]
        elif "project_id" in query:
            owners = [p for p in self.state.projects.values() if str(p.id) == query["project_id"]]
        else:
            owners = [*self.state.projects.values()]
            owners += [task for task in self.state.tasks.values() if task.project is None]
        shown = []
        for owner in owners:
            home = owner.project if isinstance(owner, Task) and owner.project else owner
            shown += [self.show.label(label, home) for label in owner.labels]
        call_query = {k: v for k, v in query.items() if not k.endswith("_id")}
        kept = Call(call.method, call.path, call_query, {})
        return self.page(call, self.filtered(kept, shown, ("name", "id")))

    def delete_label(self, call: Call, number: int) -> Answer:
        if self.state.label_owner(number) is None:
            raise self.not_found("Label")
        self.state.delete_label(number)
        return Answer(204)

    def refuse_worker(self, call: Call, *things: Task) -> None:
        """A worker of an organization sees the own jobs, but not their tasks."""
        for each in things:
            organization = self.state.organizations.get(each.organization or 0)
            if organization is not None and call.user.username in organization.workers:
                raise forbidden()

    # guides

    def _guide(self, number: int) -> Guide:
        if number not in self.state.guides:
            raise self.not_found("AnnotationGuide")
        return self.state.guides[number]

    def guide(self, call: Call, number: int) -> Answer:
        return Answer(json=asdict(self._guide(number)))

    def create_guide(self, call: Call) -> Answer:
        task_id, project_id = call.body.get("task_id"), call.body.get("project_id")
        if (task_id is None) == (project_id is None):
            raise Rejected(["Project_id or task_id must be present"])
        owner = self.state.tasks.get(task_id) or self.state.projects.get(project_id)
        if owner is None:
            if self.has("what is gone is named"):
                kind = "Project" if task_id is None else "Task"
                raise Rejected([f"{kind} matching query does not exist."])
            raise self.not_found("Task")
        if owner.guide_id is not None:
            raise Rejected(["The guide already exists"])
        markdown = call.body.get("markdown", "")
        guide = Guide(self.state.next_id("guide"), task_id, project_id, markdown)
        self.state.guides[guide.id] = guide
        owner.guide_id = guide.id
        return Answer(201, asdict(guide))

    def patch_guide(self, call: Call, number: int) -> Answer:
        guide = self._guide(number)
        guide.markdown = call.body.get("markdown", guide.markdown)
        return self.guide(call, number)
