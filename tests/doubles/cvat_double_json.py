"""The state as CVAT's JSON: the keys, in the order and with the nulls that were recorded."""

from __future__ import annotations

from dataclasses import asdict

from cvat_double_state import CvatState
from cvat_double_things import (
    AccessToken,
    Job,
    Json,
    Label,
    Organization,
    Project,
    Task,
    User,
)

ABOUT = {
    "name": "Computer Vision Annotation Tool",
    "description": "A double of CVAT for tests.",
}
NO_STORAGE = {"target_storage": None, "source_storage": None}
CHUNKS = {"data_compressed_chunk_type": "imageset", "data_original_chunk_type": "imageset"}


class Presenter:
    """Turns objects of the state into JSON; `url` is the server's own address."""

    def __init__(self, state: CvatState, url: str) -> None:
        self._state = state
        self.url = url
        self._has_more = state.version.has("answers have more keys")

    def short_user(self, user: User | None) -> Json:
        if user is None:
            return None
        return {
            "url": f"{self.url}/api/users/{user.id}",
            "id": user.id,
            "username": user.username,
            "first_name": "",
            "last_name": "",
        }

    def user(self, user: User) -> Json:
        return {
            **self.short_user(user),
            "email": user.email,
            "groups": ["admin" if user.is_admin else "user"],
            "is_staff": user.is_admin,
            "is_superuser": user.is_admin,
            "is_active": True,
            "last_login": user.last_login,
            "date_joined": user.joined,
        }

    def token(self, token: AccessToken) -> Json:
        return {
            "id": token.id,
            "name": token.name,
            "created_date": token.created,
            "updated_date": token.created,
            "expiry_date": token.expires,
            "last_used_date": None,
            "read_only": token.read_only,
            "owner": self.short_user(token.owner),
        }

    def organization(self, organization: Organization) -> Json:
        return {
            "id": organization.id,
            "slug": organization.slug,
            "name": organization.slug,
            "description": "",
            "created_date": organization.created,
            "updated_date": organization.created,
            "contact": {},
            "owner": self.short_user(organization.owner),
        }

    def label(self, label: Label, owner: Task | Project) -> Json:
        key = "project_id" if isinstance(owner, Project) else "task_id"
        return {
            "id": label.id,
            "name": label.name,
            "color": label.color,
            "attributes": [asdict(a) for a in sorted(label.attributes, key=lambda a: a.name)],
            "type": label.type,
            "sublabels": [self.label(each, owner) for each in label.sublabels],
            key: owner.id,
            "parent_id": label.parent_id,
            "has_parent": label.parent_id is not None,
        }

    def project(self, project: Project) -> Json:
        tasks = [task for task in self._state.tasks.values() if task.project is project]
        url = self.url
        return {
            "url": f"{url}/api/projects/{project.id}",
            "id": project.id,
            "name": project.name,
            "owner": self.short_user(project.owner),
            "assignee": self.short_user(project.assignee),
            "guide_id": project.guide_id,
            "bug_tracker": project.bug_tracker,
            "created_date": project.created_date,
            "updated_date": project.updated_date,
            "status": "annotation",
            "dimension": "2d" if tasks else None,
            "organization": project.organization,
            **NO_STORAGE,
            "tasks": {"count": len(tasks), "url": f"{url}/api/tasks?project_id={project.id}"},
            "labels": {"url": f"{url}/api/labels?project_id={project.id}"},
            "task_subsets": sorted({task.subset for task in tasks if task.subset}),
        }

    def task(self, task: Task) -> Json:
        url, ready = self.url, task.is_ready
        answer = {
            "url": f"{url}/api/tasks/{task.id}",
            "id": task.id,
            "name": task.name,
            "project_id": task.project.id if task.project else None,
            "mode": "annotation" if ready else "",
            "owner": self.short_user(task.owner),
            "assignee": self.short_user(task.assignee),
            "bug_tracker": task.bug_tracker,
            "created_date": task.created_date,
            "updated_date": task.updated_date,
            "overlap": 0 if ready else None,
            "segment_size": task.segment_size,
            "status": task.status,
            "guide_id": task.guide_id,
            "dimension": "2d",
            "subset": task.subset,
            "organization": task.organization,
            **NO_STORAGE,
            "jobs": {
                "count": len(task.jobs),
                "completed": sum(job.status == "completed" for job in task.jobs),
                "validation": sum(job.stage == "validation" for job in task.jobs),
                "url": f"{url}/api/jobs?task_id={task.id}",
            },
            "labels": {"url": f"{url}/api/labels?task_id={task.id}"},
        }
        if task.has_data:
            answer |= {
                "data_chunk_size": 72 if ready else None,
                **CHUNKS,
                "size": len(task.frames),
                "image_quality": task.image_quality,
                "data": task.data_id,
            }
        if self._has_more:
            answer |= {
                "assignee_updated_date": None,
                "validation_mode": None,
                "consensus_enabled": False,
                "organization_id": task.organization,
            }
        return answer

    def job(self, job: Job) -> Json:
        url, task = self.url, job.task
        project = task.project
        more = {"consensus_replicas": 0, "parent_job_id": None, "assignee_updated_date": None}
        return {
            "url": f"{url}/api/jobs/{job.id}",
            "id": job.id,
            "task_id": task.id,
            "project_id": project.id if project else None,
            "assignee": self.short_user(job.assignee),
            "guide_id": project.guide_id if project else task.guide_id,
            "dimension": "2d",
            "bug_tracker": (project.bug_tracker if project else task.bug_tracker) or None,
            "status": job.status,
            "stage": job.stage,
            "state": job.state,
            "mode": "annotation",
            "frame_count": len(job.frames),
            "start_frame": job.start_frame,
            "stop_frame": job.stop_frame,
            "data_chunk_size": 72,
            "data_compressed_chunk_type": "imageset",
            "created_date": job.created_date,
            "updated_date": job.updated_date,
            "issues": {"url": f"{url}/api/issues?job_id={job.id}", "count": 0},
            "labels": {"url": f"{url}/api/labels?job_id={job.id}"},
            "type": "annotation",
            "organization": task.organization,
            **NO_STORAGE,
            **(more if self._has_more else {}),
        }

    def data_meta(self, task: Task, frames: range) -> Json:
        more = {"chapters": None, "chunks_updated_date": task.updated_date}
        more |= {"cloud_storage_id": None, "storage": "local"}
        return {
            **(more if self._has_more else {}),
            "chunk_size": 72 if task.is_ready else None,
            "size": len(frames),
            "image_quality": task.image_quality,
            "start_frame": frames.start,
            "stop_frame": max(frames.start, frames.stop - 1),
            "frame_filter": "",
            "frames": [
                {
                    **{key: getattr(task.frames[at], key) for key in ("width", "height", "name")},
                    "related_files": 0,
                    "has_related_context": False,
                }
                for at in frames
            ],
            "deleted_frames": [at for at in task.deleted_frames if at in frames],
            "included_frames": None,
        }
