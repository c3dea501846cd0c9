"""The UNet that says of every pixel: background, a seen class, or neither."""
