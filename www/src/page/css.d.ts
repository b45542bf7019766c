/** A style sheet that is imported goes into the one beside the bundle. */
declare module "*.css";
