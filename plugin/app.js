// The one thing that Python cannot do in a running App: FiftyOne (1.22) reads the groups of the
// sidebar when it opens a dataset, and never again. This operator shows other ones; it stores
// nothing. The App's own libraries are globals of its page.
(() => {
  const { Operator, OperatorConfig, registerOperator } = window.__foo__;

  class SetSidebarGroups extends Operator {
    get config() {
      return new OperatorConfig({
        name: "set_sidebar_groups",
        label: "Set the groups of the sidebar",
        unlisted: true,
      });
    }

    // `groups`: name, paths and expanded of each, as the dataset stores them.
    async execute({ params, state }) {
      const groups = window.__fos__.sidebarGroupsDefinition(false);
      const before = await state.snapshot.getPromise(groups);
      const isTags = ({ name }) => name === "tags"; // filled by the App itself
      state.set(groups, [
        ...before.filter(isTags),
        ...params.groups.filter((group) => !isTags(group)),
      ]);
    }
  }

  registerOperator(SetSidebarGroups, "@unseen/curation");
})();
